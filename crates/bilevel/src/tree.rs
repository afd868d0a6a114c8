//! The order in which values of tasks are added: a fixed binary tree over task numbers.
//!
//! ```text
//! x_0 + … + x_4 = ((x_0 + x_1) + (x_2 + x_3)) + x_4
//! ```
//!
//! A range is split at the largest power of two below its length. Floating-point sums depend on their order, so it must not
//! depend on how tasks are shared out. Whoever has all tasks of a branch can add them alone, and the branches' sums are
//! then added in the same order, wherever they come from.

use std::ops::Range;

/// The halves of `range`, which has at least two tasks.
fn halves(range: &Range<usize>) -> [Range<usize>; 2] {
    let middle = range.start + (1 << (range.len() - 1).ilog2());
    [range.start..middle, middle..range.end]
}

/// The sum over `range`, which is not empty. `known` gives the sums over single tasks, and over those branches whose sums
/// are known already.
///
/// # Panics
/// Panics if `known` lacks a single task of an unknown branch.
pub fn sum<T>(
    range: Range<usize>,
    known: &mut impl FnMut(&Range<usize>) -> Option<T>,
    add: &mut impl FnMut(T, T) -> T,
) -> T {
    if let Some(sum) = known(&range) {
        return sum;
    }
    assert!(range.len() > 1, "the value of task {} is missing", range.start);
    let [left, right] = halves(&range).map(|half| sum(half, known, add));
    add(left, right)
}

/// The largest branches, of 2^k tasks, that make up `range` of any number of tasks.
pub fn branches(range: Range<usize>) -> Vec<Range<usize>> {
    let (mut at, mut found) = (range.start, Vec::new());
    while at < range.end {
        let largest = 1 << (range.end - at).ilog2();
        let length = if at == 0 { largest } else { largest.min(1 << at.trailing_zeros()) };
        found.push(at..at + length);
        at += length;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The order of the sum over `tasks` tasks, as text.
    fn order(tasks: usize, known: &[Range<usize>]) -> String {
        let mut known = |range: &Range<usize>| match range.len() {
            1 => Some(range.start.to_string()),
            _ => known.contains(range).then(|| order_of(range.clone())),
        };
        sum(0..tasks, &mut known, &mut |left, right| format!("({left}+{right})"))
    }

    fn order_of(range: Range<usize>) -> String {
        let mut single = |range: &Range<usize>| (range.len() == 1).then(|| range.start.to_string());
        sum(range, &mut single, &mut |left, right| format!("({left}+{right})"))
    }

    #[test]
    fn a_range_is_split_at_the_largest_power_of_two() {
        assert_eq!(order(1, &[]), "0");
        assert_eq!(order(5, &[]), "(((0+1)+(2+3))+4)");
        assert_eq!(order(7, &[]), "(((0+1)+(2+3))+((4+5)+6))");
    }

    #[test]
    fn any_division_into_branches_gives_the_same_order() {
        for tasks in 1..20 {
            for from in 0..tasks {
                for to in from..=tasks {
                    let parts = [branches(0..from), branches(from..to), branches(to..tasks)].concat();
                    assert!(parts.iter().flat_map(Clone::clone).eq(0..tasks));
                    assert_eq!(order(tasks, &parts), order(tasks, &[]), "{parts:?}");
                }
            }
        }
    }
}
