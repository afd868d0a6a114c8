//! Binomial checkpointing: visiting a chain of states backwards with few of them kept.
//!
//! With l states, the first of them given, and room for m (the first included), t repetitions reach
//! C(m + t, t) states, and the least number of steps forward is
//!
//! ```text
//! A(l, m) = t·l − C(m + t, m + 1)   for   C(m + t − 1, m) < l ≤ C(m + t, m)
//! ```
//!
//! (Griewank & Walther, *Algorithm 799: Revolve*, 2000). It obeys A(l, m) = min_k k + A(l − k, m − 1) +
//! A(k, m): go k states on, keep that one, do what lies beyond it with the room left, then what lies
//! before it.

/// A(l, m): the least number of steps forward that visits `states` states backwards, with room for
/// `slots` ≥ 1 of them.
pub fn advances(states: usize, slots: usize) -> u64 {
    if states <= 1 {
        return 0;
    }
    let (slots, repetitions, reach) = reach(states, slots);
    // C(m + t, m + 1) = C(m + t, m)·t/(m + 1)
    (repetitions * states as u128 - reach * repetitions / (slots + 1)) as u64
}

/// k: how far from the first of `states` ≥ 2 states the next one to keep lies, with room for `slots` ≥ 1.
///
/// A's slope in l is t, so the sum above is least where the states before take t − 1 repetitions and
/// those beyond take t. This is the largest such k: min(C(m + t − 1, m), l − C(m + t − 2, m − 1)).
pub fn split(states: usize, slots: usize) -> usize {
    let (slots, repetitions, reach) = reach(states, slots);
    let before = reach * repetitions / (slots + repetitions);
    let beyond = before * slots / (slots + repetitions - 1);
    before.min(states as u128 - beyond) as usize
}

/// m, t, C(m + t, m): the room that `states` ≥ 2 states can use, the fewest repetitions that reach them
/// all, and how many these reach.
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
        let (most, rooms) = (40, 8);
        // table[m][l] by the recursion itself.
        let mut table = vec![vec![0_u64; most + 1]; rooms + 1];
        for slots in 1..=rooms {
            for states in 2..=most {
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
                assert_eq!(with_k, table[slots][states], "{case}, kept after {k}");
            }
        }
    }

    #[test]
    fn room_for_all_costs_one_way_and_room_for_one_a_triangle() {
        assert_eq!(advances(11, usize::MAX), 10);
        assert_eq!(advances(11, 1), 55);
        assert_eq!(advances(1, 1), 0);
    }
}
