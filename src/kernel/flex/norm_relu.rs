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

use super::columns::{map, sums};
use super::tile::Number;

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
    pub fn value<T: Number>(self, x: &[T], [gamma, beta]: [&[T]; 2], y: &mut [T]) {
        let Statistics { mean, inverse } = self.statistics(x, gamma.len());
        map([&mean, &inverse, gamma, beta], [x], [y], |[mean, inverse, gamma, beta], [x]| {
            [positive((x - mean) * inverse * gamma + beta)]
        });
    }

    /// x̄ of one task for the gradient `g` of y, and the weights' gradients.
    pub fn gradient<T: Number>(self, x: &[T], [gamma, beta]: [&[T]; 2], g: &[T], to: &mut [T]) -> Sums<T> {
        let Statistics { mean, inverse } = &self.statistics(x, gamma.len());
        let [total, with_normal] = sums(
            x.len() / gamma.len(),
            [mean, inverse, gamma, beta],
            [x, g],
            |[mean, inverse, gamma, beta], [x, g]| {
                let normal = (x - mean) * inverse;
                let h = gate(normal * gamma + beta, g);
                [h, h * normal]
            },
        );
        let counted = self.counted * gamma.len();
        let ((x, x_out), (g, g_out)) = (x.split_at(counted), g.split_at(counted));
        let (to, to_out) = to.split_at_mut(counted);
        let share = T::from(self.counted as f64).map_or(T::default(), |count| T::one() / count);
        map(
            [mean, inverse, gamma, beta, &total, &with_normal],
            [x, g],
            [to],
            |[mean, inverse, gamma, beta, total, with_normal], [x, g]| {
                let normal = (x - mean) * inverse;
                let h = gate(normal * gamma + beta, g);
                [gamma * inverse * (h - share * (total + normal * with_normal))]
            },
        );
        map(
            [mean, inverse, gamma, beta],
            [x_out, g_out],
            [to_out],
            |[mean, inverse, gamma, beta], [x, g]| {
                [gamma * inverse * gate((x - mean) * inverse * gamma + beta, g)]
            },
        );
        Sums { gamma: with_normal, beta: total }
    }

    /// ẏ of one task along `along`, ẋ, and `moves`, γ̇ and β̇.
    pub fn tangent<T: Number>(
        self,
        x: &[T],
        weights: [&[T]; 2],
        along: &[T],
        moves: [&[T]; 2],
        to: &mut [T],
    ) {
        let Statistics { mean, inverse } = self.statistics(x, weights[0].len());
        let Moves { mean: mean_along, product } = self.moves(x, along, &mean, &inverse);
        let ([gamma, beta], [gamma_along, beta_along]) = (weights, moves);
        map(
            [&mean, &inverse, gamma, beta, &mean_along, &product, gamma_along, beta_along],
            [x, along],
            [to],
            |[mean, inverse, gamma, beta, mean_along, product, gamma_along, beta_along], [x, along]| {
                let normal = (x - mean) * inverse;
                let normal_along = inverse * ((along - mean_along) - normal * product);
                let tangent = gamma_along * normal + gamma * normal_along + beta_along;
                [gate(normal * gamma + beta, tangent)]
            },
        );
    }

    /// [x̄, ẋ̄] of one task for the gradient `g` of ẏ, γ̄ (there is no β̄), and γ̇̄ and β̇̄.
    pub fn tangent_gradient<T: Number>(
        self,
        x: &[T],
        weights: [&[T]; 2],
        along: &[T],
        gamma_along: &[T],
        g: &[T],
        [to_x, to_along]: [&mut [T]; 2],
    ) -> (Vec<T>, Sums<T>) {
        let [gamma, beta] = weights;
        let Statistics { mean, inverse } = self.statistics(x, gamma.len());
        let Moves { mean: mean_along, product } = self.moves(x, along, &mean, &inverse);
        let width = gamma.len();
        let [total, with_normal, with_tangent] = sums(
            x.len() / width,
            [&mean, &inverse, gamma, beta, &mean_along, &product],
            [x, along, g],
            |[mean, inverse, gamma, beta, mean_along, product], [x, along, g]| {
                let normal = (x - mean) * inverse;
                let h = gate(normal * gamma + beta, g);
                [h, h * normal, h * inverse * ((along - mean_along) - normal * product)]
            },
        );
        let slope: Vec<T> = (0..width).map(|c| gamma[c] * inverse[c]).collect();
        let bent: Vec<T> = (0..width).map(|c| gamma_along[c] - slope[c] * product[c]).collect();
        let through: Vec<T> = (0..width)
            .map(|c| gamma[c] * with_tangent[c] + (bent[c] - slope[c] * product[c]) * with_normal[c])
            .collect();
        let counted = self.counted * width;
        let ((x_in, x_out), (g_in, g_out)) = (x.split_at(counted), g.split_at(counted));
        let ((to_x, to_x_out), (to_along, to_along_out)) =
            (to_x.split_at_mut(counted), to_along.split_at_mut(counted));
        let share = T::from(self.counted as f64).map_or(T::default(), |count| T::one() / count);
        map(
            [&mean, &inverse, gamma, beta, &mean_along, &slope, &bent, &total, &with_normal, &through],
            [x_in, &along[..counted], g_in],
            [to_x, to_along],
            |[mean, inverse, gamma, beta, mean_along, slope, bent, total, with_normal, through],
             [x, along, g]| {
                let normal = (x - mean) * inverse;
                let h = gate(normal * gamma + beta, g);
                let around = bent * total + slope * (along - mean_along) * with_normal + normal * through;
                [inverse * (bent * h - share * around), slope * (h - share * (total + normal * with_normal))]
            },
        );
        map(
            [&mean, &inverse, gamma, beta, &slope, &bent],
            [x_out, g_out],
            [to_x_out, to_along_out],
            |[mean, inverse, gamma, beta, slope, bent], [x, g]| {
                let h = gate((x - mean) * inverse * gamma + beta, g);
                [inverse * bent * h, slope * h]
            },
        );
        (with_tangent, Sums { gamma: with_normal, beta: total })
    }

    /// Mean and 1/√(variance + ε), by one pass about the first row, which is as far from the mean as
    /// any: nothing cancels.
    fn statistics<T: Number>(self, x: &[T], width: usize) -> Statistics<T> {
        let first = &x[..width];
        let [total, squares] = sums(self.counted, [first], [x], |[first], [x]| {
            let from = x - first;
            [from, from * from]
        });
        let number = |value: f64| T::from(value).unwrap_or_default();
        let (share, epsilon) = (number(1.0 / self.counted as f64), number(self.epsilon));
        let mean = first.iter().zip(&total).map(|(first, total)| *first + *total * share).collect();
        let variance = total.iter().zip(&squares).map(|(total, squares)| {
            let from = *total * share;
            (*squares * share - from * from).max(T::default())
        });
        Statistics { mean, inverse: variance.map(|variance| (variance + epsilon).sqrt().recip()).collect() }
    }

    fn moves<T: Number>(self, x: &[T], along: &[T], mean: &[T], inverse: &[T]) -> Moves<T> {
        let [mut total, mut product] =
            sums(self.counted, [mean, inverse], [x, along], |[mean, inverse], [x, along]| {
                [along, (x - mean) * inverse * along]
            });
        let share = T::from(1.0 / self.counted as f64).unwrap_or_default();
        total.iter_mut().chain(&mut product).for_each(|sum| *sum = *sum * share);
        Moves { mean: total, product }
    }
}

/// How the statistics move, `[channels]` each.
struct Moves<T> {
    /// μ̇
    mean: Vec<T>,
    /// c
    product: Vec<T>,
}

/// max(x, 0)
#[inline(always)]
fn positive<T: Number>(x: T) -> T {
    gate(x, x)
}

/// `value` where `y` is positive, 0 elsewhere.
#[inline(always)]
fn gate<T: Number>(y: T, value: T) -> T {
    if y > T::default() { value } else { T::default() }
}
