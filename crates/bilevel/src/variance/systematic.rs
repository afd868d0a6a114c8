//! The systematic part of an error: the part that is common to all tasks.
//!
//! ‖mean of e‖² over T tasks overestimates ‖E e‖² by the sampling variance. Without the products of a task with itself,
//!
//! ```text
//! S = Σ_{i ≠ k} e_i·e_k/(T(T − 1)) = (‖Σe‖² − Σ‖e‖²)/(T(T − 1)),   E S = ‖E e‖²
//! ```
//!
//! It is the mean over tasks of h_i = e_i·(Σe − e_i)/(T − 1), and its standard error is that of 2h (Hoeffding, *A
//! class of statistics with asymptotically normal distribution*, 1948).

use super::Mean;
use crate::params::Params;
use crate::readback::read;

/// An unbiased estimate of ‖E e‖² from the `errors` of the tasks; `None` for fewer than two tasks.
pub fn squared_norm_of_expectation(errors: &Params) -> Option<Mean> {
    let count = errors.tasks() as f64;
    if count < 2.0 {
        return None;
    }
    let mean = errors.clone().mean().repeat(errors.tasks());
    let along = read(errors.clone().dot(mean));
    let squares = read(errors.clone().squared_norm());
    let products = along.iter().zip(squares).map(|(along, square)| (count * along - square) / (count - 1.0));
    let Mean { value, standard_error } = Mean::of(&products.collect::<Vec<f64>>());
    Some(Mean { value, standard_error: 2.0 * standard_error })
}
