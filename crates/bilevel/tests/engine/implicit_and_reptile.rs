//! The methods without a backward pass: Reptile's displacement, and implicit gradients against dense solves and very long
//! inner loops, in float64.

use super::problems::{FewShotLike, Sizes, WeightedRegression, normal, relative_error, values};
use bilevel::estimator::{Estimator, Implicit, Reptile};
use bilevel::hypergradient::{
    ConjugateGradient, Draw, Estimate, Evaluations, Memory, Workers, adapt, estimate,
};
use bilevel::rng::generator;
use bilevel::{Bilevel, Dual, Proximal, Rates};
use bilevel::{Params, task_indices};
use burn::tensor::Tensor;

fn drawn(estimator: &dyn Estimator, tasks: usize, steps: usize) -> Draw {
    assert!(!estimator.is_unbiased(steps));
    estimator.draw(&mut generator(1, "coin", 0), tasks, steps)
}

fn implicit<P: Bilevel>(
    problem: &P,
    theta: &Params,
    steps: usize,
    iterations: usize,
    damping: f64,
) -> Estimate {
    let solver = ConjugateGradient { iterations, damping };
    let estimate =
        estimate(problem, theta, &drawn(&Implicit { solver }, problem.tasks(), steps), Memory::Store);
    let tasks = problem.tasks() as u64;
    let products = tasks * (iterations as u64 + 1);
    let expected = Evaluations { inner: tasks * steps as u64, outer: tasks, products, recomputed: 0 };
    assert_eq!(estimate.evaluations, expected);
    estimate
}

/// Solves `matrix` · x = `right` by Gaussian elimination; `matrix` is a list of rows.
fn solve(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Vec<f64> {
    let n = right.len();
    for column in 0..n {
        let pivot = (column..n).max_by(|a, b| matrix[*a][column].abs().total_cmp(&matrix[*b][column].abs()));
        let pivot = pivot.unwrap();
        matrix.swap(column, pivot);
        right.swap(column, pivot);
        for row in 0..n {
            if row != column {
                let factor = matrix[row][column] / matrix[column][column];
                let from = matrix[column].clone();
                matrix[row].iter_mut().zip(from).for_each(|(value, above)| *value -= factor * above);
                right[row] -= factor * right[column];
            }
        }
    }
    (0..n).map(|at| right[at] / matrix[at][at]).collect()
}

/// A stack with the shapes of `like` and these values, leaf after leaf.
fn stacked(like: &Params, values: &[f64]) -> Params {
    let mut rest = values;
    like.clone().map(|leaf| {
        let (own, others) = rest.split_at(leaf.dims().iter().product());
        rest = others;
        Tensor::<1>::from_data(own, (&leaf.device(), leaf.dtype())).reshape(leaf.dims())
    })
}

/// One task with a proximal term of strength λ = 4, and θ; 26 weights.
fn proximal() -> (Proximal<FewShotLike>, Params) {
    let sizes = Sizes { tasks: 1, ways: 2, shots: 3, queries: 2, pixels: 4 };
    let (problem, theta) = FewShotLike::perceptron(sizes, &[3], 0.1);
    (Proximal { problem, strength: 4.0 }, theta)
}

const STEPS: usize = 5;

/// iMAML's (I + H/λ)⁻¹ ∇L_out at φ_r, with H computed column by column; asserts that H is symmetric.
fn closed_form(proximal: &Proximal<FewShotLike>, theta: &Params) -> Vec<f64> {
    let (fast, _) = adapt(proximal, theta, STEPS);
    let slope = |loss: Tensor<1>, leaves: &Params| {
        let [slope] = Params::gradients([leaves], loss.sum());
        values(&slope.unwrap())
    };
    let leaves = fast.tracked();
    let right = slope(proximal.outer_loss(1, theta, &leaves), &leaves);
    let unit = |at| (0..right.len()).map(|other| if other == at { 1.0 } else { 0.0 }).collect::<Vec<_>>();
    let columns: Vec<Vec<f64>> = (0..right.len())
        .map(|at| {
            let leaves = fast.tracked();
            let moving = leaves.moving(&stacked(&fast, &unit(at)));
            let product =
                slope(proximal.problem.inner_loss(1, &theta.constant(), &moving).tangent.unwrap(), &leaves);
            product.iter().zip(unit(at)).map(|(value, one)| one + value / proximal.strength).collect()
        })
        .collect();
    let transposed: Vec<f64> =
        (0..right.len()).flat_map(|at| columns.iter().map(move |column| column[at])).collect();
    assert!(relative_error(&columns.concat(), &transposed) < 1e-12, "Hessians are symmetric");
    solve(columns, right)
}

#[test]
fn the_proximal_implicit_gradient_matches_a_dense_solve() {
    let (problem, theta) = proximal();
    let expected = closed_form(&problem, &theta);
    let error = |iterations| {
        relative_error(&values(&implicit(&problem, &theta, STEPS, iterations, 0.0).gradient), &expected)
    };
    assert!(error(40) < 1e-8, "off by {:e}", error(40));
    // More iterations than needed do no harm.
    assert!(error(200) < 1e-8, "off by {:e}", error(200));
    let errors = [1, 2, 4, 8].map(error);
    assert!(errors.windows(2).all(|pair| pair[1] < 0.7 * pair[0]), "{errors:?}");
    assert!(errors[0] > 1e-3, "{errors:?}");
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let sizes = Sizes { tasks: 3, ways: 2, shots: 3, queries: 2, pixels: 4 };
    let (problem, theta) = FewShotLike::perceptron(sizes, &[3], 0.1);
    let problem = Proximal { problem, strength: 4.0 };
    let solver = ConjugateGradient { iterations: 6, damping: 0.1 };
    for estimator in [&Implicit { solver } as &dyn Estimator, &Reptile {}] {
        let draw = drawn(estimator, 3, STEPS);
        let together = Workers::TOGETHER.estimate(&problem, &theta, &draw, Memory::Store);
        let apart = Workers { threads: 2, chunk: 1 }.estimate(&problem, &theta, &draw, Memory::Store);
        assert_eq!(values(&apart.gradient), values(&together.gradient));
        assert_eq!(apart.evaluations, together.evaluations);
    }
}

/// Ridge regression in which θ is every feature's log-penalty: the inner loss is quadratic in φ.
struct Ridge {
    /// `[tasks, examples, features]`
    inputs: Tensor<3>,
    /// `[tasks, examples, 1]`
    targets: Tensor<3>,
}

impl Bilevel for Ridge {
    fn tasks(&self) -> usize {
        self.inputs.dims()[0]
    }

    fn start(&self, outer: &Params) -> Params {
        outer.zeros_like()
    }

    fn inner_rates(&self, _step: usize, _outer: &Params) -> Rates {
        Rates::Scalar(0.1)
    }

    fn inner_loss(&self, _step: usize, outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<1> {
        let misfit = Dual::constant(self.inputs.clone()).matmul(fast[0].clone())
            - Dual::constant(self.targets.clone());
        let scales = Dual::constant(outer[0].primal.clone().mul_scalar(0.5).exp());
        misfit.squared_norm().scale(0.1) + (scales * fast[0].clone()).squared_norm().scale(0.5)
    }

    fn outer_loss(&self, _step: usize, _outer: &Params, fast: &Params) -> Tensor<1> {
        (fast.leaves()[0].clone() - 1).powi_scalar(2).sum_dim(1).reshape([self.tasks()])
    }

    fn select(&self, tasks: &[usize]) -> Self {
        let tasks = task_indices(tasks, &self.inputs.device());
        let pick = |x: &Tensor<3>| x.clone().select(0, tasks.clone());
        Self { inputs: pick(&self.inputs), targets: pick(&self.targets) }
    }
}

#[test]
fn at_a_minimum_the_implicit_gradient_is_exact() {
    let problem = Ridge { inputs: normal([2, 10, 4], 1), targets: normal([2, 10, 1], 2) };
    let theta = Params::new(vec![normal([1, 4, 1], 3) * 0.3]);
    let steps = 600;
    let exact =
        values(&estimate(&problem, &theta, &Draw::truncated(2, steps, steps), Memory::Store).gradient);
    let error = |steps, damping| {
        relative_error(&values(&implicit(&problem, &theta, steps, 8, damping).gradient), &exact)
    };
    assert!(error(steps, 0.0) < 1e-8, "off by {:e}", error(steps, 0.0));
    // An inner loop that has not converged biases it, and so does damping.
    assert!(error(5, 0.0) > 1e-2);
    assert!(error(steps, 0.5) > 1e-2);
}

/// L_in = ½φᵀDφ − φᵀθ with D diagonal, V(θ) = θ, and an outer loss with gradient `slope`: if D is positive, the implicit
/// gradient is D⁻¹ slope.
struct Saddle {
    /// `[tasks, coordinates, 1]`
    diagonal: Tensor<3>,
    /// `[tasks, coordinates, 1]`
    slope: Tensor<3>,
}

impl Bilevel for Saddle {
    fn tasks(&self) -> usize {
        self.diagonal.dims()[0]
    }

    fn inner_rates(&self, _step: usize, _outer: &Params) -> Rates {
        Rates::Scalar(0.1)
    }

    fn inner_loss(&self, _step: usize, outer: &[Dual<3>], fast: &[Dual<3>]) -> Dual<1> {
        let (diagonal, tasks) = (Dual::constant(self.diagonal.clone()), self.tasks());
        let curved = (diagonal * fast[0].clone()).scale(0.5) - outer[0].clone();
        (curved * fast[0].clone()).sum_dim(1).reshape([tasks])
    }

    fn outer_loss(&self, _step: usize, _outer: &Params, fast: &Params) -> Tensor<1> {
        (fast.leaves()[0].clone() * self.slope.clone()).sum_dim(1).reshape([self.tasks()])
    }

    fn select(&self, _tasks: &[usize]) -> Self {
        unreachable!("all tasks are computed together")
    }
}

#[test]
fn a_task_without_positive_curvature_does_not_disturb_the_others() {
    let column = |tasks: &[[f64; 3]]| {
        let like = normal::<3>([tasks.len(), 3, 1], 1);
        stacked(&Params::new(vec![like]), &tasks.concat()).into_leaves().remove(0)
    };
    let tasks = [
        ([1.0, 2.0, 4.0], [1.0, 1.0, 1.0]),    // positive
        ([3.0, -1.0, 2.0], [1.0, 0.5, 1.0]),   // indefinite, found after the first step
        ([1.0, -1.0, 1.0], [1.0, 1.0, 0.0]),   // no curvature along the first direction
        ([-1.0, -2.0, -3.0], [1.0, 1.0, 1.0]), // negative
        ([1.0, 2.0, 3.0], [0.0, 0.0, 0.0]),    // nothing to solve
        ([1.0, 1e-30, 0.0], [1.0, 1.0, 1.0]),  // numerically singular
    ];
    let problem =
        Saddle { diagonal: column(&tasks.map(|task| task.0)), slope: column(&tasks.map(|task| task.1)) };
    let theta = Params::new(vec![normal([1, 3, 1], 4)]);
    let gradients: Vec<Vec<f64>> = {
        let gradient = implicit(&problem, &theta, 2, 12, 0.0).gradient;
        (0..tasks.len()).map(|task| values(&gradient.select(&[task]))).collect()
    };
    assert!(gradients.iter().flatten().all(|value| value.abs() < 1e6), "{gradients:?}");
    assert!(relative_error(&gradients[0], &[1.0, 0.5, 0.25]) < 1e-12, "{gradients:?}");
    for task in 2..5 {
        assert_eq!(gradients[task], [0.0; 3], "{gradients:?}");
    }
    // Enough damping makes every curvature positive: (D + δI)⁻¹ slope.
    let damped = implicit(&problem, &theta, 2, 12, 5.0).gradient;
    let expected: Vec<f64> =
        tasks.iter().flat_map(|(d, v)| (0..3).map(move |at| v[at] / (d[at] + 5.0))).collect();
    assert!(relative_error(&values(&damped), &expected) < 1e-12);
}

#[test]
fn reptile_is_the_displacement_of_the_inner_loop() {
    let sizes = Sizes { tasks: 2, ways: 3, shots: 2, queries: 2, pixels: 6 };
    let (problem, theta) = FewShotLike::perceptron(sizes, &[5], 0.3);
    let outer = theta.repeat(2);
    let (fast, _) = adapt(&problem, &outer, 3);
    let reptile = estimate(&problem, &theta, &drawn(&Reptile {}, 2, 3), Memory::Store);
    assert_eq!(values(&reptile.gradient), values(&(outer.clone() - fast.clone())));
    assert_eq!(reptile.evaluations, Evaluations { inner: 2 * 3, ..Default::default() });
    let loss = |loss: Tensor<1>| loss.into_data().iter::<f64>().collect::<Vec<_>>();
    assert_eq!(loss(reptile.outer_loss), loss(problem.outer_loss(1, &outer, &fast)));
}

#[test]
fn reptile_is_pulled_back_through_the_initialisation() {
    let (problem, theta) = WeightedRegression::new(2);
    let (fast, _) = adapt(&problem, &theta.repeat(2), 3);
    let reptile = estimate(&problem, &theta, &drawn(&Reptile {}, 2, 3), Memory::Store).gradient;
    // V(θ) = tanh θ₂, whose slope is 1 − tanh².
    let start = theta.leaves()[1].clone().tanh();
    let expected = (start.clone() - fast.leaves()[0].clone()) * (1 - start.powi_scalar(2));
    assert!(relative_error(&values(&reptile.part(1..2)), &values(&Params::new(vec![expected]))) < 1e-12);
    assert!(values(&reptile.part(0..1)).iter().all(|slope| *slope == 0.0));
}
