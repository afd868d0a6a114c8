//! Batch normalisation and ReLU together: value, tangent, and the gradients of both.
//!
//! Per channel, with μ and σ² the mean and biased variance of the M rows that are counted,
//! r = 1/√(σ² + ε), x̂ = (x − μ) r, m = 1 where γ x̂ + β > 0 and 0 elsewhere, u = ẋ − μ̇,
//! c = mean(x̂ ẋ), sums over all rows and 1_S = 1 on counted rows only:
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
//! The first pair is Ioffe & Szegedy, *Batch normalization*, 2015; the second is its derivative along
//! (ẋ, γ̇, β̇), differentiated again by hand (the tests hold both against the composed rules of
//! [`crate::dual`]).

use super::columns::{Term, map, sums, term};
use super::room::Places;
use super::tile::Number;
use macerator::{Simd, Vector};

/// Constants of one batch normalisation.
#[derive(Clone, Copy, Debug)]
pub struct Norm {
    /// Rows that give the statistics, M; the first of each task.
    pub counted: usize,
    /// ε.
    pub epsilon: f64,
}

/// One task's statistics, `[channels]` each.
struct Statistics<T> {
    mean: Vec<T>,
    /// r
    inverse: Vec<T>,
}

/// What the gradients of one task add up to.
pub struct Sums<T> {
    /// γ̄, `[channels]`.
    pub gamma: Vec<T>,
    /// β̄, `[channels]`.
    pub beta: Vec<T>,
}

impl Norm {
    /// y of one task; `x` and `y` are `[rows, channels]`, `gamma` and `beta` `[channels]`.
    pub fn value<T: Number>(self, x: &[T], [gamma, beta]: [&[T]; 2], y: Places<T>) {
        let Statistics { mean, inverse } = self.statistics(x, gamma.len());
        let slope = channels([gamma, &inverse], |[gamma, inverse]| gamma * inverse);
        let value = term!(|[mean, slope, beta], [x]| -> 1 {
            let y = (x - mean) * slope + beta;
            [gate(y, y)]
        });
        map([&mean, &slope, beta], [x], [y], value);
    }

    /// x̄ of one task for the gradient `g` of y, and the weights' gradients.
    pub fn gradient<T: Number>(self, x: &[T], [gamma, beta]: [&[T]; 2], g: &[T], to: Places<T>) -> Sums<T> {
        let Statistics { mean, inverse } = self.statistics(x, gamma.len());
        let slope = channels([gamma, &inverse], |[gamma, inverse]| gamma * inverse);
        let terms = term!(|[mean, slope, beta, inverse], [x, g]| -> 2 {
            let from = x - mean;
            let h = gate(from * slope + beta, g);
            [h, h * from * inverse]
        });
        let rows = x.len() / gamma.len();
        let [total, with_normal] = sums(rows, [&mean, &slope, beta, &inverse], [x, g], terms);
        let share = self.share();
        let level = channels([&slope, &total], |[slope, total]| slope * share * total);
        let tilt =
            channels([&slope, &inverse, &with_normal], |[slope, inverse, sum]| slope * inverse * share * sum);
        let value = term!(|[mean, slope, beta, level, tilt], [x, g]| -> 1 {
            let from = x - mean;
            [slope * gate(from * slope + beta, g) - level - from * tilt]
        });
        let none = vec![T::default(); gamma.len()];
        let [(x, x_out), (g, g_out)] = [x, g].map(|all| all.split_at(self.counted * gamma.len()));
        let (to, to_out) = to.split_at_mut(x.len());
        map([&mean, &slope, beta, &level, &tilt], [x, g], [to], value);
        map([&mean, &slope, beta, &none, &none], [x_out, g_out], [to_out], value);
        Sums { gamma: with_normal, beta: total }
    }

    /// ẏ of one task along `along`, ẋ, and `moves`, γ̇ and β̇.
    pub fn tangent<T: Number>(
        self,
        x: &[T],
        [gamma, beta]: [&[T]; 2],
        along: &[T],
        [gamma_along, beta_along]: [&[T]; 2],
        to: Places<T>,
    ) {
        let Statistics { mean, inverse } = self.statistics(x, gamma.len());
        let Moves { mean: mean_along, slope, bent, .. } =
            self.moves(x, gamma, along, gamma_along, &mean, &inverse);
        let tilt = channels([&inverse, &bent], |[inverse, bent]| inverse * bent);
        let value = term!(|[mean, slope, beta, mean_along, tilt, beta_along], [x, along]| -> 1 {
            let from = x - mean;
            let tangent = from * tilt + (along - mean_along) * slope + beta_along;
            [gate(from * slope + beta, tangent)]
        });
        map([&mean, &slope, beta, &mean_along, &tilt, beta_along], [x, along], [to], value);
    }

    /// [x̄, ẋ̄] of one task for the gradient `g` of ẏ, γ̄ (there is no β̄), and γ̇̄ and β̇̄.
    pub fn tangent_gradient<T: Number>(
        self,
        x: &[T],
        [gamma, beta]: [&[T]; 2],
        along: &[T],
        gamma_along: &[T],
        g: &[T],
        [to_x, to_along]: [Places<T>; 2],
    ) -> (Vec<T>, Sums<T>) {
        let Statistics { mean, inverse } = self.statistics(x, gamma.len());
        let Moves { mean: mean_along, product, slope, bent } =
            self.moves(x, gamma, along, gamma_along, &mean, &inverse);
        let terms = term!(|[mean, slope, beta, inverse, mean_along], [x, along, g]| -> 3 {
            let from = x - mean;
            let h = gate(from * slope + beta, g);
            [h, h * from * inverse, h * (along - mean_along) * inverse]
        });
        let coefficients = [&mean, &slope, beta, &inverse, &mean_along];
        let [total, with_normal, with_along] =
            sums(x.len() / gamma.len(), coefficients, [x, along, g], terms);
        let with_tangent =
            channels([&with_along, &inverse, &product, &with_normal], |[along, r, c, normal]| {
                along - r * c * normal
            });
        let share = self.share();
        let through = channels(
            [gamma, &with_tangent, &bent, &slope, &product, &with_normal],
            |[gamma, tangent, bent, slope, product, normal]| {
                gamma * tangent + (bent - slope * product) * normal
            },
        );
        let steep = channels([&inverse, &bent], |[inverse, bent]| inverse * bent);
        let level = channels([&steep, &total], |[steep, total]| steep * share * total);
        let lean = channels([&inverse, &slope, &with_normal], |[r, slope, sum]| r * slope * share * sum);
        let tilt = channels([&inverse, &through], |[inverse, sum]| inverse * inverse * share * sum);
        let level_along = channels([&slope, &total], |[slope, total]| slope * share * total);
        let values = term!(
            |[mean, slope, beta, mean_along, steep, level, lean, tilt, level_along], [x, along, g]| -> 2 {
                let from = x - mean;
                let h = gate(from * slope + beta, g);
                [
                    steep * h - level - (along - mean_along) * lean - from * tilt,
                    slope * h - level_along - from * lean,
                ]
            }
        );
        let none = vec![T::default(); gamma.len()];
        let [(x, x_out), (along, along_out), (g, g_out)] =
            [x, along, g].map(|all| all.split_at(self.counted * gamma.len()));
        let [(to_x, to_x_out), (to_along, to_along_out)] =
            [to_x, to_along].map(|to| to.split_at_mut(x.len()));
        map(
            [&mean, &slope, beta, &mean_along, &steep, &level, &lean, &tilt, &level_along],
            [x, along, g],
            [to_x, to_along],
            values,
        );
        map(
            [&mean, &slope, beta, &mean_along, &steep, &none, &none, &none, &none],
            [x_out, along_out, g_out],
            [to_x_out, to_along_out],
            values,
        );
        (with_tangent, Sums { gamma: with_normal, beta: total })
    }

    /// Mean and 1/√(variance + ε), by one pass about the first row, which is as far from the mean as
    /// any: nothing cancels.
    fn statistics<T: Number>(self, x: &[T], width: usize) -> Statistics<T> {
        let first = &x[..width];
        let terms = term!(|[first], [x]| -> 2 {
            let from = x - first;
            [from, from * from]
        });
        let [total, squares] = sums(self.counted, [first], [x], terms);
        let (share, epsilon) = (self.share::<T>(), number(self.epsilon));
        Statistics {
            mean: channels([first, &total], |[first, total]| first + total * share),
            inverse: channels([&total, &squares], |[total, squares]| {
                let from = total * share;
                let variance = (squares * share - from * from).max(T::default());
                (variance + epsilon).sqrt().recip()
            }),
        }
    }

    fn moves<T: Number>(
        self,
        x: &[T],
        gamma: &[T],
        along: &[T],
        gamma_along: &[T],
        mean: &[T],
        inverse: &[T],
    ) -> Moves<T> {
        let terms = term!(|[mean, inverse], [x, along]| -> 2 {
            [along, (x - mean) * inverse * along]
        });
        let share = self.share::<T>();
        let [total, product] = sums(self.counted, [mean, inverse], [x, along], terms);
        let slope = channels([gamma, inverse], |[gamma, inverse]| gamma * inverse);
        let product = channels([&product], |[sum]| sum * share);
        Moves {
            mean: channels([&total], |[sum]| sum * share),
            bent: channels([gamma_along, &slope, &product], |[gamma, slope, product]| {
                gamma - slope * product
            }),
            slope,
            product,
        }
    }

    /// 1/M
    fn share<T: Number>(self) -> T {
        number(1.0 / self.counted as f64)
    }
}

/// How the statistics move, and what follows for each channel, `[channels]` each.
struct Moves<T> {
    /// μ̇
    mean: Vec<T>,
    /// c
    product: Vec<T>,
    /// γ r
    slope: Vec<T>,
    /// e
    bent: Vec<T>,
}

/// A value for each channel, made of some others of the channel.
fn channels<T: Number, const K: usize>(of: [&[T]; K], value: impl Fn([T; K]) -> T) -> Vec<T> {
    (0..of[0].len()).map(|channel| value(of.map(|all| all[channel]))).collect()
}

fn number<T: Number>(value: f64) -> T {
    T::from(value).unwrap_or_default()
}

/// 0 where `y` is at most 0, `value` elsewhere: what is not a number stays so.
#[inline(always)]
fn gate<S: Simd, T: Number>(y: Vector<S, T>, value: Vector<S, T>) -> Vector<S, T> {
    let zero = T::default().splat();
    y.le(zero).select(zero, value)
}
