//! `[outer]`: how the initial weights θ are learned.

use crate::config::checker::Checker;
use crate::config::key::{Fixed, Is, Open, Otherwise, keys};
use crate::config::kind::{
    Count, Long, Number, OneOf, at_least, decay, long, non_negative, one_of, positive,
};
use bilevel::optimizer::{Moments, Optimizer};
use bilevel::{Budget, OuterLosses, OuterSettings, Schedule, choice};

keys! {
    /// Optimiser of the initial weights.
    OPTIMIZER: Fixed<OneOf<Name>> = "outer.optimizer", one_of(), Is(|| Name::Adam);
    /// Initial learning rate of this optimiser.
    RATE: Fixed<Number> = "outer.rate", positive(), Is(|| 0.001);
    /// Schedule of the learning rate; "linear" and "cosine" reach outer.final_rate at the end of the budget.
    SCHEDULE: Fixed<OneOf<Schedule>> = "outer.schedule", one_of(), Is(|| Schedule::Cosine);
    /// Learning rate at the end of schedule "linear" or "cosine", at most outer.rate.
    FINAL_RATE: Fixed<Number> = "outer.final_rate", non_negative(), Is(|| 0.0);
    /// Number of outer steps of linear warm-up. In the first n = outer.warmup steps, the scheduled learning rate is
    /// multiplied by 1/n, 2/n, …, n/n, so step 1 uses outer.rate / n.
    WARMUP: Fixed<Long> = "outer.warmup", long(0), Is(|| 0);
    /// Number of tasks per outer step.
    META_BATCH: Fixed<Count> = "outer.meta_batch", at_least(1), Is(|| 16);
    /// Budget in outer steps. Cannot be combined with outer.evaluations.
    STEPS: Open<Long> = "outer.steps", long(1), Otherwise("none; one of the two budgets is required");
    /// Budget in gradient evaluations, for comparing estimators at equal cost. Cannot be combined with outer.steps.
    EVALUATIONS: Open<Long> = "outer.evaluations", long(1),
        Otherwise("none; one of the two budgets is required");
    /// Maximum norm of the meta-gradient; a larger gradient is scaled down to this norm.
    CLIP: Open<Number> = "outer.clip", positive(), Otherwise("no clipping");
    /// Momentum of "sgd".
    MOMENTUM: Fixed<Number> = "outer.momentum", decay(), Is(|| 0.0);
    /// Decay of the running average of gradients in "adam" and "adamw".
    BETA_1: Fixed<Number> = "outer.beta_1", decay(), Is(|| 0.9);
    /// Decay of the running average of squared gradients in "adam" and "adamw".
    BETA_2: Fixed<Number> = "outer.beta_2", decay(), Is(|| 0.999);
    /// Constant added to the denominator in "adam" and "adamw".
    EPSILON: Fixed<Number> = "outer.epsilon", positive(), Is(|| 1e-8);
    /// Weight decay, decoupled from the gradient in "adamw".
    WEIGHT_DECAY: Open<Number> = "outer.weight_decay", non_negative(), Otherwise("0.01 for adamw, else 0");
    /// Losses in the outer objective: only the one after the "last" inner step, or those after "all" inner steps.
    LOSSES: Fixed<OneOf<Losses>> = "outer.losses", one_of(), Is(|| Losses::Last);
    /// Number of outer steps after which only the last loss counts. Before that, all losses start with equal weights, and
    /// the weights of the earlier losses decrease linearly, to no less than 3 % of their initial value.
    LOSSES_UNTIL: Open<Long> = "outer.losses_until", long(1), Otherwise("none; all losses keep equal weights");
}

choice! {
    /// The outer losses along the inner loop.
    pub enum Losses {
        /// The loss after the last inner step.
        Last = "last",
        /// The losses after every inner step (Antoniou et al. 2019).
        All = "all",
    }
}

choice! {
    /// The names of the optimisers.
    pub enum Name {
        /// Gradient descent.
        Sgd = "sgd",
        /// Adam.
        Adam = "adam",
        /// Adam with decoupled weight decay.
        AdamW = "adamw",
    }
}

/// Checks the section.
pub fn check(checker: &mut Checker) -> OuterSettings {
    let name = checker.get(&OPTIMIZER);
    let optimizer = optimizer(checker, name);
    let (rate, schedule) = (checker.get(&RATE), checker.get(&SCHEDULE));
    let final_rate = final_rate(checker, rate, schedule);
    let weight_decay = if name == Name::AdamW { 0.01 } else { 0.0 };
    OuterSettings {
        optimizer,
        rate,
        schedule,
        final_rate,
        warmup: checker.get(&WARMUP),
        meta_batch: checker.get(&META_BATCH),
        budget: budget(checker),
        clip: checker.find(&CLIP),
        weight_decay: checker.find(&WEIGHT_DECAY).unwrap_or(weight_decay),
        losses: losses(checker),
    }
}

fn losses(checker: &mut Checker) -> OuterLosses {
    let losses = checker.get(&LOSSES);
    match losses {
        Losses::Last => {
            let why = "it applies only to the losses before the last one";
            checker.unused(&LOSSES_UNTIL, &LOSSES, losses, why);
            OuterLosses::Last
        }
        Losses::All => OuterLosses::All { until: checker.find(&LOSSES_UNTIL) },
    }
}

/// The learning rate at the end of the budget, at most `rate`.
fn final_rate(checker: &mut Checker, rate: f64, schedule: Schedule) -> f64 {
    if schedule == Schedule::Constant {
        checker.unused(&FINAL_RATE, &SCHEDULE, schedule, "the learning rate does not change");
        return 0.0;
    }
    let final_rate = checker.get(&FINAL_RATE);
    if final_rate > rate {
        let reason = format!("`outer.final_rate` must be at most outer.rate = {rate:?}, got {final_rate:?}");
        checker.contradicts(&FINAL_RATE, &RATE, reason);
    }
    final_rate
}

fn optimizer(checker: &mut Checker, name: Name) -> Optimizer {
    if name == Name::Sgd {
        for key in [&BETA_1, &BETA_2, &EPSILON] {
            checker.unused(key, &OPTIMIZER, name, "only \"adam\" and \"adamw\" use it");
        }
        return Optimizer::Sgd { momentum: checker.get(&MOMENTUM) };
    }

    checker.unused(&MOMENTUM, &OPTIMIZER, name, "only \"sgd\" uses it; see outer.beta_1");
    let moments = Moments {
        beta_1: checker.get(&BETA_1),
        beta_2: checker.get(&BETA_2),
        epsilon: checker.get(&EPSILON),
    };
    if name == Name::Adam { Optimizer::Adam(moments) } else { Optimizer::AdamW(moments) }
}

/// The budget. An override of one kind of budget replaces the other kind in the file.
fn budget(checker: &mut Checker) -> Budget {
    if checker.overrides(&EVALUATIONS, &STEPS) {
        return Budget::Evaluations(checker.find(&EVALUATIONS).unwrap_or(1));
    }
    if checker.overrides(&STEPS, &EVALUATIONS) {
        return Budget::Steps(checker.find(&STEPS).unwrap_or(1));
    }

    let budgets = (checker.find(&STEPS), checker.find(&EVALUATIONS));
    match (checker.is_set(&STEPS), checker.is_set(&EVALUATIONS)) {
        (true, true) => checker.refuse(
            &EVALUATIONS,
            "`outer.evaluations` and `outer.steps` are both given, but a run has one budget; remove one of them".into(),
        ),
        (false, false) => checker.refuse(
            &STEPS,
            "no budget; set `outer.steps` or `outer.evaluations` to a whole number ≥ 1".into(),
        ),
        _ => {}
    }
    match budgets {
        (_, Some(evaluations)) => Budget::Evaluations(evaluations),
        (steps, None) => Budget::Steps(steps.unwrap_or(1)),
    }
}
