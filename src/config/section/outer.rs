//! `[outer]`: how the initial weights are learned.

use crate::config::checker::Checker;
use crate::config::choice::choice;
use crate::config::key::{Fixed, Is, Open, Otherwise, keys};
use crate::config::kind::{
    Count, Long, Number, OneOf, at_least, decay, long, non_negative, one_of, positive,
};
use serde::Serialize;

keys! {
    /// The optimiser of the initial weights.
    OPTIMIZER: Fixed<OneOf<Name>> = "outer.optimizer", one_of(), Is(|| Name::Adam);
    /// Its learning rate at the start.
    RATE: Fixed<Number> = "outer.rate", positive(), Is(|| 0.001);
    /// How the learning rate changes; "linear" and "cosine" reach zero at the end of the budget.
    SCHEDULE: Fixed<OneOf<Schedule>> = "outer.schedule", one_of(), Is(|| Schedule::Cosine);
    /// Tasks averaged in one outer step.
    META_BATCH: Fixed<Count> = "outer.meta_batch", at_least(1), Is(|| 16);
    /// Budget in outer steps; excludes outer.evaluations.
    STEPS: Open<Long> = "outer.steps", long(1), Otherwise("none; one of the two budgets is needed");
    /// Budget in gradient evaluations, which compares estimators fairly; excludes outer.steps.
    EVALUATIONS: Open<Long> = "outer.evaluations", long(1),
        Otherwise("none; one of the two budgets is needed");
    /// The largest norm of the finished meta-gradient; a longer one is scaled down to it.
    CLIP: Open<Number> = "outer.clip", positive(), Otherwise("no clipping");
    /// Share of the past steps in "sgd"'s next one.
    MOMENTUM: Fixed<Number> = "outer.momentum", decay(), Is(|| 0.0);
    /// Decay of "adam"'s and "adamw"'s average of gradients.
    BETA_1: Fixed<Number> = "outer.beta_1", decay(), Is(|| 0.9);
    /// Decay of "adam"'s and "adamw"'s average of squared gradients.
    BETA_2: Fixed<Number> = "outer.beta_2", decay(), Is(|| 0.999);
    /// Added to the denominator of "adam" and "adamw".
    EPSILON: Fixed<Number> = "outer.epsilon", positive(), Is(|| 1e-8);
    /// Weight decay; decoupled from the gradient in "adamw".
    WEIGHT_DECAY: Open<Number> = "outer.weight_decay", non_negative(), Otherwise("0.01 for adamw, else 0");
}

choice! {
    /// The names of [`Optimizer`]'s variants.
    pub enum Name {
        /// Gradient descent.
        Sgd = "sgd",
        /// Adam.
        Adam = "adam",
        /// Adam with decoupled weight decay.
        AdamW = "adamw",
    }
}

choice! {
    /// How the learning rate changes from the start to the end of the budget.
    pub enum Schedule {
        /// Not at all.
        Constant = "constant",
        /// In a straight line to zero.
        Linear = "linear",
        /// Along half a cosine to zero.
        Cosine = "cosine",
    }
}

/// How the initial weights are learned.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outer {
    /// The optimiser.
    #[serde(flatten)]
    pub optimizer: Optimizer,
    /// Learning rate at the start, > 0.
    pub rate: f64,
    /// How the learning rate changes.
    pub schedule: Schedule,
    /// Tasks averaged in one outer step, ≥ 1.
    pub meta_batch: usize,
    /// When training ends.
    #[serde(flatten)]
    pub budget: Budget,
    /// The largest norm of the finished meta-gradient, > 0; `None` clips nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<f64>,
    /// Weight decay, ≥ 0; decoupled from the gradient in AdamW.
    pub weight_decay: f64,
}

/// The optimiser of the initial weights.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "optimizer", rename_all = "lowercase")]
pub enum Optimizer {
    /// Stochastic gradient descent.
    Sgd {
        /// Share of the past steps in the next one, in [0, 1).
        momentum: f64,
    },
    /// Adam (Kingma & Ba 2015).
    Adam(Moments),
    /// Adam with decoupled weight decay (Loshchilov & Hutter 2019).
    AdamW(Moments),
}

/// How Adam averages gradients.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Moments {
    /// Decay of the average of gradients, in [0, 1).
    pub beta_1: f64,
    /// Decay of the average of squared gradients, in [0, 1).
    pub beta_2: f64,
    /// Added to the denominator, > 0.
    pub epsilon: f64,
}

/// When training ends; also the length of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Budget {
    /// After so many outer steps.
    Steps(u64),
    /// After the outer step that reaches so many gradient evaluations.
    Evaluations(u64),
}

/// The section, checked.
pub fn check(checker: &mut Checker) -> Outer {
    let name = checker.get(&OPTIMIZER);
    let optimizer = optimizer(checker, name);
    let weight_decay = if name == Name::AdamW { 0.01 } else { 0.0 };
    Outer {
        optimizer,
        rate: checker.get(&RATE),
        schedule: checker.get(&SCHEDULE),
        meta_batch: checker.get(&META_BATCH),
        budget: budget(checker),
        clip: checker.find(&CLIP),
        weight_decay: checker.find(&WEIGHT_DECAY).unwrap_or(weight_decay),
    }
}

fn optimizer(checker: &mut Checker, name: Name) -> Optimizer {
    if name == Name::Sgd {
        for key in [&BETA_1, &BETA_2, &EPSILON] {
            checker.unused(key, &OPTIMIZER, name, "only \"adam\" and \"adamw\" average gradients so");
        }
        return Optimizer::Sgd { momentum: checker.get(&MOMENTUM) };
    }

    checker.unused(&MOMENTUM, &OPTIMIZER, name, "only \"sgd\" has one; see outer.beta_1");
    let moments = Moments {
        beta_1: checker.get(&BETA_1),
        beta_2: checker.get(&BETA_2),
        epsilon: checker.get(&EPSILON),
    };
    if name == Name::Adam { Optimizer::Adam(moments) } else { Optimizer::AdamW(moments) }
}

/// The one budget. An override of one displaces the file's other.
fn budget(checker: &mut Checker) -> Budget {
    if checker.displaces(&EVALUATIONS, &STEPS) {
        return Budget::Evaluations(checker.find(&EVALUATIONS).unwrap_or(1));
    }
    if checker.displaces(&STEPS, &EVALUATIONS) {
        return Budget::Steps(checker.find(&STEPS).unwrap_or(1));
    }

    let budgets = (checker.find(&STEPS), checker.find(&EVALUATIONS));
    match (checker.is_set(&STEPS), checker.is_set(&EVALUATIONS)) {
        (true, true) => checker.refuse(
            &EVALUATIONS,
            "`outer.evaluations` and `outer.steps` are both given; a run has one budget, remove one".into(),
        ),
        (false, false) => checker.refuse(
            &STEPS,
            "no budget; give `outer.steps` or `outer.evaluations`, a whole number ≥ 1".into(),
        ),
        _ => {}
    }
    match budgets {
        (_, Some(evaluations)) => Budget::Evaluations(evaluations),
        (steps, None) => Budget::Steps(steps.unwrap_or(1)),
    }
}
