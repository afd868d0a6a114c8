//! The probabilities that reach a given accuracy at the least cost, for many independent or ordered choices.
//!
//! A term that is taken with probability p_j and weighted by 1/p_j costs p_j c_j on average and adds (1/p_j − 1) v_j to
//! the second moment. As in [`best_q`](super::best_q()), the time to a given accuracy then grows like
//!
//! ```text
//! (C + Σ_j p_j c_j) · (𝕍² + Σ_j (1/p_j − 1) v_j)^e,   floor_j ≤ p_j ≤ 1
//! ```
//!
//! Where its derivative in p_j is zero, p_j² = s² v_j/c_j with s² = e · cost / moment, the same for all j: Neyman's
//! allocation (Cochran, *Sampling Techniques*, 1977, §5.5) with one free scale s. The best p_j are s √(v_j/c_j),
//! clamped to their bounds. Between two neighbouring scales `start` and `end` at which some p_j reaches a bound,
//! q = s/end has the form of UFOM's problem,
//!
//! ```text
//! (C' + q Σ_free p_j c_j) · (𝕄² + (1/q − 1) Σ_free v_j/p_j)^e,   start/end ≤ q ≤ 1
//! ```
//!
//! with p_j and the second moment 𝕄² taken at s = end. The minimum is the best of these closed-form solutions.
//!
//! Under the constraint p_1 ≥ p_2 ≥ … the conditions are those of minimising Σ_j c_j (Φ(θ_j) − s² (v_j/c_j) θ_j),
//! convex in θ_j = −1/p_j with Φ(θ) = −1/θ whatever the signs of v_j. So p_j² = Φ'(θ_j) is s² times the isotonic
//! regression of v_j/c_j with weights c_j, for every s: pooling adjacent violators once gives pools with one p each
//! (Barlow & Brunk, *The isotonic regression problem and its dual*, 1972; Best & Chakravarti 1990). Bounds common to
//! all j can be made part of Φ, so they clamp the p of a pool and do not change the pools.

use super::best_q::{Costs, SecondMoments, Tradeoff};

/// A term that is taken with a probability to be chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// v_j; the term adds (1/p_j − 1) v_j to the second moment.
    pub variance: f64,
    /// c_j > 0, the cost of taking the term, in the unit of all costs.
    pub cost: f64,
    /// Lower bound of p_j, in (0, 1].
    pub floor: f64,
}

/// The parts of cost and second moment that do not depend on the probabilities, and the exponent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// 𝕍² ≥ 0, the second moment with every p_j = 1.
    pub exact: f64,
    /// C > 0, the fixed cost, in the unit of all costs.
    pub fixed: f64,
    /// e > 0; the time to a given accuracy grows with the second moment to this power.
    pub exponent: f64,
}

impl Share {
    /// The scale s at which p reaches 1; infinite if the variance is not positive.
    fn full(&self) -> f64 {
        (self.variance.max(0.0) / self.cost).sqrt().recip()
    }

    /// p at scale `scale`.
    fn probability(&self, scale: f64) -> f64 {
        (scale / self.full()).max(self.floor).min(1.0)
    }
}

/// The best p_j, each in [floor_j, 1]; the floor if v_j ≤ 0.
///
/// Inputs must be finite, and so must v_j/c_j and, with every p_j at its floor, the e-th power of the second moment.
/// Takes O(r²) time for r shares: sums are recomputed between any two scales, since running sums would cancel if the
/// shares differ by many orders of magnitude.
pub fn independent(shares: &[Share], budget: Budget) -> Vec<f64> {
    let meets = |share: &Share| [share.floor * share.full(), share.full()];
    let mut scales: Vec<f64> = shares.iter().flat_map(meets).filter(|scale| scale.is_finite()).collect();
    scales.sort_by(f64::total_cmp);
    scales.dedup();
    let best = |ends: &[f64]| {
        let (start, end) = (ends[0], ends[1]);
        let tradeoff = between(start, end, shares, budget);
        let q = tradeoff.best_q(start / end);
        (tradeoff.time(q), q * end)
    };
    let best = scales.windows(2).map(best).min_by(|one, other| one.0.total_cmp(&other.0));
    // With fewer than two scales every p is at its floor, for any scale.
    let scale = best.map_or(0.0, |(_, scale)| scale);
    shares.iter().map(|share| share.probability(scale)).collect()
}

/// The problem in q = s/end between the neighbouring scales `start` and `end`.
fn between(start: f64, end: f64, shares: &[Share], budget: Budget) -> Tradeoff {
    let mut moments = SecondMoments { exact: budget.exact, error: 0.0 };
    let mut costs = Costs { fixed: budget.fixed, random: 0.0 };
    for share in shares {
        let (p, variance) = (share.probability(end), share.variance.max(0.0));
        moments.exact += (1.0 / p - 1.0) * variance;
        if share.floor * share.full() <= start && end <= share.full() {
            moments.error += variance / p;
            costs.random += p * share.cost;
        } else {
            costs.fixed += p * share.cost;
        }
    }
    Tradeoff { moments, costs, exponent: budget.exponent }
}

/// The best p_1 ≥ p_2 ≥ …, each in [floor, 1]: the survival probabilities of a randomised telescope. Its
/// v_l = E‖R_l‖² − E‖R_{l+1}‖² may be negative, where R_l is the error before level l.
///
/// Inputs as for [`independent`], with one floor for all: the largest. The sums v_l + v_{l+1} + … = E‖R_l‖² must not be
/// negative.
pub fn descending(shares: &[Share], budget: Budget) -> Vec<f64> {
    let floor = shares.iter().map(|share| share.floor).fold(0.0, f64::max);
    let mut pools: Vec<(Share, usize)> = Vec::new();
    for share in shares {
        let mut pool = (Share { floor, ..*share }, 1);
        let ratio = |pool: &(Share, usize)| pool.0.variance / pool.0.cost;
        while let Some((before, count)) = pools.pop_if(|before| ratio(before) <= ratio(&pool)) {
            pool.0.variance += before.variance;
            pool.0.cost += before.cost;
            pool.1 += count;
        }
        pools.push(pool);
    }
    let (pooled, counts): (Vec<_>, Vec<_>) = pools.into_iter().unzip();
    let best = independent(&pooled, budget);
    best.into_iter().zip(counts).flat_map(|(p, count)| std::iter::repeat_n(p, count)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::best_q::best_q;
    use super::*;
    use crate::rng::generator;
    use rand::{Rng, RngExt};

    fn time(p: &[f64], shares: &[Share], budget: Budget) -> f64 {
        let each = || p.iter().zip(shares);
        let cost: f64 = each().map(|(p, share)| p * share.cost).sum();
        let excess: f64 = each().map(|(p, share)| (1.0 / p - 1.0) * share.variance).sum();
        (budget.fixed + cost) * (budget.exact + excess).powf(budget.exponent)
    }

    fn log_uniform(random: &mut dyn Rng, from: f64, to: f64) -> f64 {
        (random.random::<f64>() * (to / from).ln()).exp() * from
    }

    fn random_budget(random: &mut dyn Rng) -> Budget {
        Budget {
            exact: log_uniform(random, 0.1, 10.0),
            fixed: log_uniform(random, 0.1, 100.0),
            exponent: log_uniform(random, 0.25, 4.0),
        }
    }

    /// A random share; one floor in eight is 1.
    fn random_share(random: &mut dyn Rng) -> Share {
        Share {
            variance: log_uniform(random, 0.001, 10.0),
            cost: log_uniform(random, 0.1, 100.0),
            floor: if random.random_bool(0.125) { 1.0 } else { log_uniform(random, 0.001, 0.3) },
        }
    }

    /// The least time on a grid over [floor, 1] for each share; with `descending`, only where p does not increase.
    fn least_on_grid(shares: &[Share], budget: Budget, descending: bool) -> f64 {
        let steps: usize = if shares.len() == 2 { 200 } else { 40 };
        let points = |share: &Share| -> Vec<f64> {
            (0..=steps).map(|step| share.floor.powf(1.0 - step as f64 / steps as f64)).collect()
        };
        let axes: Vec<_> = shares.iter().map(points).collect();
        let mut least = f64::INFINITY;
        for index in 0..(steps + 1).pow(shares.len() as u32) {
            let digit = |axis: usize| index / (steps + 1).pow(axis as u32) % (steps + 1);
            let p: Vec<f64> = axes.iter().enumerate().map(|(axis, points)| points[digit(axis)]).collect();
            if !descending || p.is_sorted_by(|before, after| before >= after) {
                least = least.min(time(&p, shares, budget));
            }
        }
        least
    }

    fn is_inside(p: f64, share: &Share) -> bool {
        share.floor * (1.0 + 1e-9) < p && p < 1.0
    }

    #[test]
    fn independent_is_not_beaten_on_a_fine_grid() {
        let random = &mut generator(0, "test", 0);
        let (mut inside, mut mixed) = (0, 0);
        for case in 0..300 {
            let shares: Vec<_> = (0..2 + case % 2).map(|_| random_share(random)).collect();
            let budget = random_budget(random);
            let p = independent(&shares, budget);
            assert!(p.iter().zip(&shares).all(|(p, share)| (share.floor..=1.0).contains(p)));
            let least = least_on_grid(&shares, budget, false);
            assert!(time(&p, &shares, budget) <= least * (1.0 + 1e-9), "{p:?} for {shares:?}, {budget:?}");
            let free = p.iter().zip(&shares).filter(|(p, share)| is_inside(**p, share)).count();
            inside += usize::from(free == shares.len());
            mixed += usize::from(0 < free && free < shares.len());
        }
        assert!(inside >= 40, "{inside} of 300 minima are away from all bounds");
        assert!(mixed >= 50, "{mixed} of 300 minima are away from some bounds");
    }

    #[test]
    fn descending_is_not_beaten_on_a_fine_grid() {
        let random = &mut generator(0, "test", 1);
        let (mut inside, mut negative, mut distinct) = (0, 0, 0);
        for case in 0..300 {
            let levels = 2 + case % 2;
            let floor = random_share(random).floor;
            let mut missing: Vec<_> = (0..levels).map(|_| log_uniform(random, 0.01, 10.0)).collect();
            missing.push(0.0);
            let share = |ends: &[f64]| Share { variance: ends[0] - ends[1], floor, ..random_share(random) };
            let shares: Vec<_> = missing.windows(2).map(share).collect();
            let budget = random_budget(random);
            let p = descending(&shares, budget);
            assert!(p.iter().all(|p| (floor..=1.0).contains(p)));
            assert!(p.is_sorted_by(|before, after| before >= after), "{p:?}");
            let least = least_on_grid(&shares, budget, true);
            assert!(time(&p, &shares, budget) <= least * (1.0 + 1e-9), "{p:?} for {shares:?}, {budget:?}");
            inside += usize::from(p.iter().zip(&shares).any(|(p, share)| is_inside(*p, share)));
            negative += usize::from(shares.iter().any(|share| share.variance < 0.0));
            distinct += usize::from(p[0] != p[levels - 1]);
        }
        assert!(inside >= 100, "{inside} of 300 minima are away from the bounds");
        assert!(negative >= 100, "{negative} of 300 cases have a negative v");
        assert!(distinct >= 50, "{distinct} of 300 minima decrease");
    }

    #[test]
    fn all_unbounded_probabilities_share_one_scale() {
        let random = &mut generator(0, "test", 2);
        for _ in 0..20 {
            let shares: Vec<_> = (0..200).map(|_| random_share(random)).collect();
            let budget = Budget { exact: 1000.0, ..random_budget(random) };
            let p = independent(&shares, budget);
            let cost = budget.fixed + p.iter().zip(&shares).map(|(p, share)| p * share.cost).sum::<f64>();
            let excess = |(p, share): (&f64, &Share)| (1.0 / p - 1.0) * share.variance;
            let moment = budget.exact + p.iter().zip(&shares).map(excess).sum::<f64>();
            let squared = budget.exponent * cost / moment;
            let free: Vec<_> = p.iter().zip(&shares).filter(|(p, share)| is_inside(**p, share)).collect();
            assert!(free.len() >= 20, "{} of 200 are away from their bounds", free.len());
            for (p, share) in free {
                let own = p * p * share.cost / share.variance;
                assert!((own / squared - 1.0).abs() < 1e-9, "s² is {own} for {share:?}, {squared} for all");
            }
        }
    }

    #[test]
    fn one_share_gives_the_best_q_of_ufom() {
        let random = &mut generator(0, "test", 3);
        for _ in 0..300 {
            let (share, budget) = (Share { floor: 1e-9, ..random_share(random) }, random_budget(random));
            let moments = SecondMoments { exact: budget.exact, error: share.variance };
            let costs = Costs { fixed: budget.fixed, random: share.cost };
            let q = best_q(moments, costs, budget.exponent);
            for p in [independent(&[share], budget), descending(&[share], budget)] {
                assert!((p[0] / q - 1.0).abs() < 1e-12, "{} instead of {q}", p[0]);
            }
            let above = Share { floor: (1.5 * q).min(1.0), ..share };
            // There is only one minimum, so it moves to the floor.
            if moments.error < moments.exact {
                let p = independent(&[above], budget);
                assert!((p[0] / above.floor - 1.0).abs() < 1e-12, "{} for {above:?}", p[0]);
            }
        }
    }

    #[test]
    fn result_is_invariant_to_units_and_equal_for_equal_shares() {
        let random = &mut generator(0, "test", 4);
        for _ in 0..100 {
            let shares: Vec<_> = (0..5).map(|_| random_share(random)).collect();
            let budget = random_budget(random);
            let unit =
                |share: &Share| Share { variance: 1e30 * share.variance, cost: 1e-30 * share.cost, ..*share };
            let scaled: Vec<_> = shares.iter().map(unit).collect();
            let in_units = Budget { exact: 1e30 * budget.exact, fixed: 1e-30 * budget.fixed, ..budget };
            for allocate in [independent, descending] {
                for (p, other) in allocate(&shares, budget).iter().zip(allocate(&scaled, in_units)) {
                    assert!((p / other - 1.0).abs() < 1e-9, "{p} and {other}");
                }
                let equal = allocate(&[shares[0]; 4], budget);
                assert!(equal.iter().all(|p| (p / equal[0] - 1.0).abs() < 1e-12), "{equal:?}");
            }
        }
    }

    #[test]
    fn probabilities_are_floors_without_variance_and_ones_with_large_variance() {
        let budget = Budget { exact: 1.0, fixed: 1.0, exponent: 2.0 };
        let share = |variance| Share { variance, cost: 1.0, floor: 0.05 };
        for allocate in [independent, descending] {
            assert!(allocate(&[], budget).is_empty());
            assert_eq!(allocate(&[share(0.0); 3], budget), [0.05; 3]);
            assert_eq!(allocate(&[share(1e6), share(0.0)], budget), [1.0, 0.05]);
            assert_eq!(allocate(&[share(1e30), share(0.0)], Budget { exact: 0.0, ..budget }), [1.0, 0.05]);
        }
    }

    #[test]
    fn result_is_a_local_minimum_for_shares_of_any_magnitude() {
        let random = &mut generator(0, "test", 5);
        for _ in 0..300 {
            let mut size = || if random.random_bool(0.9) { log_uniform(random, 1e-30, 1e30) } else { 0.0 };
            let mut share =
                || Share { variance: size(), cost: size().max(1e-30), floor: size().clamp(1e-30, 1.0) };
            let shares = [share(), share(), share()];
            let budget = Budget { exact: size(), fixed: size().max(1e-30), exponent: 2.0 };
            let p = independent(&shares, budget);
            let least = time(&p, &shares, budget);
            for (index, share) in shares.iter().enumerate() {
                assert!((share.floor..=1.0).contains(&p[index]), "{p:?} for {shares:?}");
                for factor in [0.0, 0.5, 0.99, 1.01, 2.0, f64::INFINITY] {
                    let mut other = p.clone();
                    other[index] = (p[index] * factor).clamp(share.floor, 1.0);
                    assert!(
                        least <= time(&other, &shares, budget) * (1.0 + 1e-9),
                        "{other:?} instead of {p:?} for {shares:?}, {budget:?}"
                    );
                }
            }
            let p = descending(&shares, budget);
            assert!(p.is_sorted_by(|before, after| before >= after) && p[0] <= 1.0, "{p:?}");
        }
    }
}
