//! Batch normalisation fused with leaky ReLU: value, tangent, and the gradients of both.
//!
//! Per channel, with μ and σ² the mean and biased variance of the M counted rows, r = 1/√(σ² + ε), x̂ = (x − μ) r, m
//! = 1 where γ x̂ + β > 0 and the negative slope elsewhere, u = ẋ − μ̇, c = mean(x̂ ẋ), sums over all rows, and 1_S = 1
//! on counted rows only:
//!
//! ```text
//! y  = m (γ x̂ + β)
//! x̄  = γ r (h − 1_S/M (Σh + x̂ Σh x̂)),         γ̄ = Σh x̂,   β̄ = Σh,              h = m ȳ
//!
//! ẏ  = m (γ̇ x̂ + γ r (u − x̂ c) + β̇)
//! ẋ̄  = γ r (h − 1_S/M (Σh + x̂ Σh x̂)),         γ̇̄ = Σh x̂,   β̇̄ = Σh,              h = m ẏ̄
//! x̄  = r (e h − 1_S/M (e Σh + γ r u Σh x̂ + x̂ (γ̄' + (e − γ r c) Σh x̂))),        e = γ̇ − γ r c
//! γ̄  = Σh r (u − x̂ c),   γ̄' = γ γ̄,   β̄ = 0
//! ```
//!
//! The first block is Ioffe & Szegedy, *Batch normalization*, 2015. The second is its derivative x_tangent (ẋ, γ̇,
//! β̇), and the gradients of that. The tests compare both with the composed operations of [`crate::dual`].

use super::columns::{ColumnFn, column_fn, map, sums};
use super::tile::Number;
use super::uninit::UninitSlice;
use macerator::{Simd, Vector};

/// Settings of a batch normalisation and the leaky ReLU after it.
#[derive(Clone, Copy, Debug)]
pub struct Norm {
    /// M: the statistics are those of the first M rows of each task.
    pub counted: usize,
    /// ε.
    pub epsilon: f64,
    /// Slope of the leaky ReLU for negative values: 0 for ReLU, 1 for the identity.
    pub negative_slope: f64,
}

/// One task's statistics, `[channels]` each.
struct Statistics<T> {
    /// μ
    mean: Vec<T>,
    /// r
    inverse: Vec<T>,
}

/// The gradients of one task's weights.
pub struct WeightGradients<T> {
    /// γ̄, `[channels]`.
    pub gamma: Vec<T>,
    /// β̄, `[channels]`.
    pub beta: Vec<T>,
}

impl Norm {
    /// Writes y of one task; `x` and `y` are `[rows, channels]`, `gamma` and `beta` `[channels]`.
    pub fn value<T: Number>(self, x: &[T], [gamma, beta]: [&[T]; 2], y: UninitSlice<T>) {
        let Self { negative_slope, .. } = self;
        let Statistics { mean, inverse } = self.statistics(x, gamma.len());
        let slope = channels([gamma, &inverse], |[gamma, inverse]| gamma * inverse);
        let value = column_fn!(with negative_slope, |[mean, slope, beta], [x]| -> 1 {
            let y = (x - mean) * slope + beta;
            [rectified(negative_slope, y, y)]
        });
        map([&mean, &slope, beta], [x], [y], value);
    }

    /// Writes x̄ of one task to `to`, given the gradient `g` of y, and returns the gradients of the weights.
    pub fn gradient<T: Number>(
        self,
        x: &[T],
        [gamma, beta]: [&[T]; 2],
        g: &[T],
        to: UninitSlice<T>,
    ) -> WeightGradients<T> {
        let Self { negative_slope, .. } = self;
        let Statistics { mean, inverse } = self.statistics(x, gamma.len());
        let slope = channels([gamma, &inverse], |[gamma, inverse]| gamma * inverse);
        let terms = column_fn!(with negative_slope, |[mean, slope, beta, inverse], [x, g]| -> 2 {
            let centred = x - mean;
            let h = rectified(negative_slope, centred * slope + beta, g);
            [h, h * centred * inverse]
        });
        let rows = x.len() / gamma.len();
        let [sum_h, sum_h_normal] = sums(rows, [&mean, &slope, beta, &inverse], [x, g], terms);
        let weight = self.row_weight();
        let offset = channels([&slope, &sum_h], |[slope, sum]| slope * weight * sum);
        let factor = channels([&slope, &inverse, &sum_h_normal], |[slope, r, sum]| slope * r * weight * sum);
        let value = column_fn!(with negative_slope, |[mean, slope, beta, offset, factor], [x, g]| -> 1 {
            let centred = x - mean;
            [slope * rectified(negative_slope, centred * slope + beta, g) - offset - centred * factor]
        });
        let zeros = vec![T::default(); gamma.len()];
        let [(x, x_rest), (g, g_rest)] = [x, g].map(|all| all.split_at(self.counted * gamma.len()));
        let (to, to_rest) = to.split_at_mut(x.len());
        map([&mean, &slope, beta, &offset, &factor], [x, g], [to], value);
        map([&mean, &slope, beta, &zeros, &zeros], [x_rest, g_rest], [to_rest], value);
        WeightGradients { gamma: sum_h_normal, beta: sum_h }
    }

    /// Writes ẏ of one task to `to`, for the tangents ẋ, γ̇ and β̇.
    pub fn tangent<T: Number>(
        self,
        x: &[T],
        [gamma, beta]: [&[T]; 2],
        x_tangent: &[T],
        [gamma_tangent, beta_tangent]: [&[T]; 2],
        to: UninitSlice<T>,
    ) {
        let Self { negative_slope, .. } = self;
        let Statistics { mean, inverse } = self.statistics(x, gamma.len());
        let StatisticsTangent { mean: mean_tangent, slope, e, .. } =
            self.statistics_tangent(x, gamma, x_tangent, gamma_tangent, &mean, &inverse);
        let slope_tangent = channels([&inverse, &e], |[r, e]| r * e);
        let value = column_fn!(
            with negative_slope,
            |[mean, slope, beta, mean_tangent, slope_tangent, beta_tangent], [x, x_tangent]| -> 1 {
                let centred = x - mean;
                let tangent = centred * slope_tangent + (x_tangent - mean_tangent) * slope + beta_tangent;
                [rectified(negative_slope, centred * slope + beta, tangent)]
            }
        );
        map([&mean, &slope, beta, &mean_tangent, &slope_tangent, beta_tangent], [x, x_tangent], [to], value);
    }

    /// Writes x̄ and ẋ̄ of one task, given the gradient `g` of ẏ; returns γ̄, and the gradients γ̇̄ and β̇̄. β̄ is
    /// zero.
    pub fn tangent_gradient<T: Number>(
        self,
        x: &[T],
        [gamma, beta]: [&[T]; 2],
        x_tangent: &[T],
        gamma_tangent: &[T],
        g: &[T],
        [to_x, to_x_tangent]: [UninitSlice<T>; 2],
    ) -> (Vec<T>, WeightGradients<T>) {
        let Self { negative_slope, .. } = self;
        let Statistics { mean, inverse } = self.statistics(x, gamma.len());
        let StatisticsTangent { mean: mean_tangent, c, slope, e } =
            self.statistics_tangent(x, gamma, x_tangent, gamma_tangent, &mean, &inverse);
        let terms = column_fn!(with negative_slope, |[mean, slope, beta, inverse, mean_tangent], [x, x_tangent, g]| -> 3 {
            let centred = x - mean;
            let h = rectified(negative_slope, centred * slope + beta, g);
            [h, h * centred * inverse, h * (x_tangent - mean_tangent) * inverse]
        });
        let coefficients = [&mean, &slope, beta, &inverse, &mean_tangent];
        let [sum_h, sum_h_normal, sum_h_u] =
            sums(x.len() / gamma.len(), coefficients, [x, x_tangent, g], terms);
        let gamma_gradient = channels([&sum_h_u, &inverse, &c, &sum_h_normal], |[sum_h_u, r, c, normal]| {
            sum_h_u - r * c * normal
        });
        let weight = self.row_weight();
        // γ̄' + (e − γ r c) Σh x̂
        let sum_normal = channels(
            [gamma, &gamma_gradient, &e, &slope, &c, &sum_h_normal],
            |[gamma, gamma_gradient, e, slope, c, sum]| gamma * gamma_gradient + (e - slope * c) * sum,
        );
        let slope_tangent = channels([&inverse, &e], |[r, e]| r * e);
        // x̄ = slope_tangent·h − x_offset − u·factor − (x − μ)·normal_factor
        // ẋ̄ = slope·h − tangent_offset − (x − μ)·factor
        let x_offset = channels([&slope_tangent, &sum_h], |[slope, sum]| slope * weight * sum);
        let factor = channels([&inverse, &slope, &sum_h_normal], |[r, slope, sum]| r * slope * weight * sum);
        let normal_factor = channels([&inverse, &sum_normal], |[r, sum]| r * r * weight * sum);
        let tangent_offset = channels([&slope, &sum_h], |[slope, sum]| slope * weight * sum);
        let values = column_fn!(
            with negative_slope,
            |[mean, slope, beta, mean_tangent, slope_tangent, x_offset, factor, normal_factor, tangent_offset],
             [x, x_tangent, g]| -> 2 {
                let centred = x - mean;
                let h = rectified(negative_slope, centred * slope + beta, g);
                [
                    slope_tangent * h - x_offset - (x_tangent - mean_tangent) * factor - centred * normal_factor,
                    slope * h - tangent_offset - centred * factor,
                ]
            }
        );
        let zeros = vec![T::default(); gamma.len()];
        let [(x, x_rest), (x_tangent, x_tangent_rest), (g, g_rest)] =
            [x, x_tangent, g].map(|all| all.split_at(self.counted * gamma.len()));
        let [(to_x, to_x_rest), (to_x_tangent, to_x_tangent_rest)] =
            [to_x, to_x_tangent].map(|to| to.split_at_mut(x.len()));
        map(
            [
                &mean,
                &slope,
                beta,
                &mean_tangent,
                &slope_tangent,
                &x_offset,
                &factor,
                &normal_factor,
                &tangent_offset,
            ],
            [x, x_tangent, g],
            [to_x, to_x_tangent],
            values,
        );
        map(
            [&mean, &slope, beta, &mean_tangent, &slope_tangent, &zeros, &zeros, &zeros, &zeros],
            [x_rest, x_tangent_rest, g_rest],
            [to_x_rest, to_x_tangent_rest],
            values,
        );
        (gamma_gradient, WeightGradients { gamma: sum_h_normal, beta: sum_h })
    }

    /// μ and r, in one pass. The first row is subtracted from all rows before they are summed, so that a mean far
    /// from zero causes no cancellation.
    fn statistics<T: Number>(self, x: &[T], width: usize) -> Statistics<T> {
        let first = &x[..width];
        let terms = column_fn!(|[first], [x]| -> 2 {
            let centred = x - first;
            [centred, centred * centred]
        });
        let [total, squares] = sums(self.counted, [first], [x], terms);
        let (weight, epsilon) = (self.row_weight::<T>(), number(self.epsilon));
        Statistics {
            mean: channels([first, &total], |[first, total]| first + total * weight),
            inverse: channels([&total, &squares], |[total, squares]| {
                let centred = total * weight;
                let difference = squares * weight - centred * centred;
                // `max` would turn a NaN into 0.
                let variance = if difference < T::default() { T::default() } else { difference };
                (variance + epsilon).sqrt().recip()
            }),
        }
    }

    /// The tangents of the statistics, and the coefficients that follow from them.
    fn statistics_tangent<T: Number>(
        self,
        x: &[T],
        gamma: &[T],
        x_tangent: &[T],
        gamma_tangent: &[T],
        mean: &[T],
        inverse: &[T],
    ) -> StatisticsTangent<T> {
        let terms = column_fn!(|[mean, inverse], [x, x_tangent]| -> 2 {
            [x_tangent, (x - mean) * inverse * x_tangent]
        });
        let weight = self.row_weight::<T>();
        let [sum_tangent, sum_product] = sums(self.counted, [mean, inverse], [x, x_tangent], terms);
        let slope = channels([gamma, inverse], |[gamma, inverse]| gamma * inverse);
        let c = channels([&sum_product], |[sum]| sum * weight);
        StatisticsTangent {
            mean: channels([&sum_tangent], |[sum]| sum * weight),
            e: channels([gamma_tangent, &slope, &c], |[gamma_tangent, slope, c]| gamma_tangent - slope * c),
            slope,
            c,
        }
    }

    /// 1/M
    fn row_weight<T: Number>(self) -> T {
        number(1.0 / self.counted as f64)
    }
}

/// Tangents of the statistics and coefficients that follow from them, `[channels]` each.
struct StatisticsTangent<T> {
    /// μ̇
    mean: Vec<T>,
    /// c
    c: Vec<T>,
    /// γ r
    slope: Vec<T>,
    /// e
    e: Vec<T>,
}

/// Applies `value` to the K given values of each channel.
fn channels<T: Number, const K: usize>(of: [&[T]; K], value: impl Fn([T; K]) -> T) -> Vec<T> {
    (0..of[0].len()).map(|channel| value(of.map(|all| all[channel]))).collect()
}

fn number<T: Number>(value: f64) -> T {
    T::from(value).unwrap_or_default()
}

/// `value`, times the slope where `y` ≤ 0. Where `y` is NaN, `value` is left as it is: a NaN never becomes 0.
#[inline(always)]
fn rectified<S: Simd, T: Number>(negative_slope: f64, y: Vector<S, T>, value: Vector<S, T>) -> Vector<S, T> {
    let zero = T::default().splat();
    // Not 0 × value, which would be −0 or NaN.
    let below = if negative_slope == 0.0 { zero } else { value * number::<T>(negative_slope).splat() };
    y.le(zero).select(below, value)
}
