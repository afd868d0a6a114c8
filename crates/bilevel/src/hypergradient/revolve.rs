//! Binomial checkpointing: visiting a chain of states in reverse order while storing only a few of them.
//!
//! Given the first of l states, and memory for m of them (the first included), t repetitions suffice for C(m + t, t)
//! states, and the minimum number of forward steps is
//!
//! ```text
//! A(l, m) = t·l − C(m + t, m + 1)   for   C(m + t − 1, m) < l ≤ C(m + t, m)
//! ```
//!
//! (Griewank & Walther, *Algorithm 799: Revolve*, 2000). It satisfies A(l, m) = min_k k + A(l − k, m − 1) + A(k, m):
//! advance by k states, store that state, visit the states after it with the memory left, then those before it.

/// A(l, m): the minimum number of forward steps that visits l = `states` states in reverse order, with memory for
/// m = `slots` ≥ 1 of them.
pub fn advances(states: usize, slots: usize) -> u64 {
    if states <= 1 {
        return 0;
    }
    let (slots, repetitions, reach) = reach(states, slots);
    // C(m + t, m + 1) = C(m + t, m)·t/(m + 1)
    (repetitions * states as u128 - reach * repetitions / (slots + 1)) as u64
}

/// k: the index of the next state to store among `states` ≥ 2 states, with memory for `slots` ≥ 1.
///
/// A increases by t per state, so the sum above is minimal if the k states before take t − 1 repetitions and those
/// after take t. This is the largest such k: min(C(m + t − 1, m), l − C(m + t − 2, m − 1)).
pub fn split(states: usize, slots: usize) -> usize {
    let (slots, repetitions, reach) = reach(states, slots);
    let before = reach * repetitions / (slots + repetitions);
    let after = before * slots / (slots + repetitions - 1);
    before.min(states as u128 - after) as usize
}

/// m, t, C(m + t, m): the slots that `states` ≥ 2 states can use, the fewest repetitions that suffice for all of
/// them, and the number of states that these suffice for.
fn reach(states: usize, slots: usize) -> (u128, u128, u128) {
    let slots = slots.min(states - 1) as u128;
    let (mut repetitions, mut reach) = (0, 1);
    while reach < states as u128 {
        repetitions += 1;
        reach = reach * (slots + repetitions) / repetitions;
    }
    (slots, repetitions, reach)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closed_form_is_the_minimum_over_all_schedules() {
        let (max_states, max_slots) = (40, 8);
        // table[m][l], by the recursion.
        let mut table = vec![vec![0_u64; max_states + 1]; max_slots + 1];
        for slots in 1..=max_slots {
            for states in 2..=max_states {
                table[slots][states] = match slots {
                    1 => (states * (states - 1) / 2) as u64,
                    _ => (1..states)
                        .map(|k| k as u64 + table[slots - 1][states - k] + table[slots][k])
                        .min()
                        .unwrap(),
                };
                let case = format!("{states} states, {slots} slots");
                assert_eq!(advances(states, slots), table[slots][states], "{case}");
                let k = split(states, slots);
                let with_k = k as u64 + advances(states - k, slots - 1) + advances(k, slots);
                assert_eq!(with_k, table[slots][states], "{case}, stored after {k}");
            }
        }
    }

    #[test]
    fn storing_all_states_needs_one_pass_and_storing_one_a_triangle() {
        assert_eq!(advances(11, usize::MAX), 10);
        assert_eq!(advances(11, 1), 55);
        assert_eq!(advances(1, 1), 0);
    }
}
