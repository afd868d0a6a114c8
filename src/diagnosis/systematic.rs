//! The systematic part of an error: what of it is the same for all tasks.
//!
//! ‖mean of e‖² over T tasks is too large by the sampling part. Without the terms of a task with itself,
//!
//! ```text
//! S = Σ_{i ≠ k} e_i·e_k/(T(T − 1)) = (‖Σe‖² − Σ‖e‖²)/(T(T − 1)),   E S = ‖E e‖²
//! ```
//!
//! It is the mean over tasks of h_i = e_i·(Σe − e_i)/(T − 1), and its standard error is that of 2h (Hoeffding, *A class of
//! statistics with asymptotically normal distribution*, 1948).

use super::Mean;
use crate::host::host;
use crate::stack::Stack;

/// ‖E e‖² from tasks' `errors`, without bias; `None` for fewer than two tasks.
pub fn squared_norm_of_expectation(errors: &Stack) -> Option<Mean> {
    let count = errors.tasks() as f64;
    if count < 2.0 {
        return None;
    }
    let mean = errors.clone().mean().repeat(errors.tasks());
    let along = host(errors.clone().dot(mean));
    let squares = host(errors.clone().squared_norm());
    let beside = along.iter().zip(squares).map(|(along, square)| (count * along - square) / (count - 1.0));
    let Mean { value, standard_error } = Mean::of(&beside.collect::<Vec<f64>>());
    Some(Mean { value, standard_error: 2.0 * standard_error })
}
