//! `[inner]`: how the network adapts to an episode.

use crate::config::checker::Checker;
use crate::config::key::{Fixed, Is, Open, Otherwise, keys};
use crate::config::kind::{Count, Flag, Long, Number, OneOf, at_least, long, non_negative, one_of, positive};
use crate::task::{Adaptation, Adapts, Head, InnerRates, RateEach};
use bilevel::{Rates, choice};
use serde::Serialize;

keys! {
    /// Number of gradient steps on the support images in training; 0 is allowed only with inner.head = "prototype".
    STEPS: Fixed<Count> = "inner.steps", at_least(0), Is(|| 1);
    /// Learning rate of the inner steps.
    RATE: Fixed<Number> = "inner.rate", positive(), Is(|| 0.4);
    /// Number of gradient steps on the support images in evaluation.
    EVAL_STEPS: Open<Count> = "inner.eval_steps", at_least(0), Otherwise("inner.steps");
    /// Which weights the inner steps change: "all", all except γ and β of batch norm ("all-but-norm"), or only those of the
    /// last linear layer ("head").
    ADAPTS: Fixed<OneOf<Adapts>> = "inner.adapts", one_of(), Is(|| Adapts::All);
    /// Number of outer steps at the start of training in which only the last linear layer adapts, as with inner.adapts =
    /// "head"; from then on, all weights that inner.adapts selects adapt. While only the last layer adapts, the layers
    /// below it are computed once per episode instead of at every inner step, which makes an outer step several times
    /// cheaper.
    HEAD_ONLY_UNTIL: Open<Long> = "inner.head_only_until", long(1), Otherwise("none");
    /// The last linear layer at the start of adaptation: a "learned" row for each class, one learned row that is "shared"
    /// by all classes, or the "prototype" of each class, which is the mean of the features of its support images. With the
    /// last two, the number of classes may change after training.
    HEAD: Fixed<OneOf<Head>> = "inner.head", one_of(), Is(|| Head::Learned);
    /// Whether γ and β of batch norm, if they do not adapt, are learned separately for each inner step.
    NORM_PER_STEP: Fixed<Flag> = "inner.norm_per_step", Flag, Is(|| false);
    /// Learning rates of the inner steps: all equal to inner.rate ("fixed"), or initialised to it and learned together with
    /// the initial weights: one for each weight ("learned"), for each tensor of weights ("per-tensor"), or for each tensor
    /// and inner step ("per-tensor-and-step").
    RATES: Fixed<OneOf<RateKind>> = "inner.rates", one_of(), Is(|| RateKind::Fixed);
    /// Lower bound of the learned inner rates.
    RATE_FLOOR: Open<Number> = "inner.rate_floor", non_negative(), Otherwise("none; a rate may become negative");
    /// Initial learning rate at which the outer loop learns the inner rates; it follows outer.schedule.
    RATES_LEARNING_RATE: Open<Number> = "inner.rates_learning_rate", positive(), Otherwise("outer.rate");
    /// Strength λ of the proximal term: λ/2 times the squared distance from the weights at the start of the inner loop is
    /// added to the support loss.
    PROXIMAL: Fixed<Number> = "inner.proximal", non_negative(), Is(|| 0.0);
}

choice! {
    /// Whether inner learning rates are learned, and what has a rate of its own.
    pub enum RateKind {
        /// All weights use the same rate, which does not change.
        Fixed = "fixed",
        /// Every weight that adapts has its own rate, which is learned (Meta-SGD).
        Learned = "learned",
        /// Every tensor has its own rate, which is learned.
        PerTensor = "per-tensor",
        /// Every tensor has its own rate at every inner step, which is learned (MAML++).
        PerTensorAndStep = "per-tensor-and-step",
    }
}

/// How the network adapts to an episode: gradient descent on the support images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inner {
    /// Number of steps in training; 0 only with a prototype head.
    pub steps: usize,
    /// Learning rate, > 0.
    pub rate: f64,
    /// Number of steps in evaluation; 0 evaluates the initial weights.
    pub eval_steps: usize,
    /// Which weights adapt.
    pub adapts: Adapts,
    /// The number of outer steps in which only the head adapts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_only_until: Option<u64>,
    /// The head at the start.
    pub head: Head,
    /// Whether γ and β of batch norm, if they do not adapt, differ from step to step.
    pub norm_per_step: bool,
    /// Whether learning rates are learned.
    pub rates: RateKind,
    /// Lower bound of learned rates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_floor: Option<f64>,
    /// Outer learning rate of learned rates; `None` for that of all other weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rates_learning_rate: Option<f64>,
    /// λ of the proximal term, ≥ 0.
    pub proximal: f64,
}

impl Inner {
    /// How the network adapts to an episode.
    pub fn adaptation(&self) -> Adaptation {
        let learned = |each| InnerRates::Learned { start: self.rate, each };
        let rates = match self.rates {
            RateKind::Fixed => InnerRates::Fixed(Rates::Scalar(self.rate)),
            RateKind::Learned => learned(RateEach::Weight),
            RateKind::PerTensor => learned(RateEach::Tensor),
            RateKind::PerTensorAndStep => learned(RateEach::TensorAndStep { steps: self.steps.max(1) }),
        };
        let norm_steps = self.norm_per_step.then_some(self.steps.max(1));
        Adaptation { adapts: self.adapts, rates, head: self.head, norm_steps }
    }
}

/// Checks the section.
pub fn check(checker: &mut Checker) -> Inner {
    let (steps, head, rates) = (checker.get(&STEPS), checker.get(&HEAD), checker.get(&RATES));
    if steps == 0 && head != Head::Prototype {
        let reason = format!(
            "`inner.steps` = 0 cannot be combined with inner.head = \"{head}\": without an inner step only the head \
             \"prototype\" depends on the support images; set it, or inner.steps to at least 1"
        );
        checker.contradicts(&STEPS, &HEAD, reason);
    }
    if rates == RateKind::Learned && head != Head::Learned {
        let reason = format!(
            "`inner.rates` = \"learned\" cannot be combined with inner.head = \"{head}\": such a head has no fixed \
             number of weights; use \"per-tensor\" or \"per-tensor-and-step\""
        );
        checker.contradicts(&RATES, &HEAD, reason);
    }
    if rates == RateKind::Fixed {
        for key in [&RATE_FLOOR, &RATES_LEARNING_RATE] {
            checker.unused(key, &RATES, rates, "only learned rates change");
        }
    }
    let (adapts, norm_per_step) = (checker.get(&ADAPTS), checker.get(&NORM_PER_STEP));
    if norm_per_step && adapts == Adapts::All {
        let reason = "`inner.norm_per_step` = true cannot be combined with inner.adapts = \"all\": γ and β then \
                      change at every inner step anyway; set inner.adapts = \"all-but-norm\"";
        checker.contradicts(&NORM_PER_STEP, &ADAPTS, reason.into());
    }
    if adapts == Adapts::Head {
        checker.unused(&HEAD_ONLY_UNTIL, &ADAPTS, adapts, "only the head adapts at any time");
    }
    Inner {
        steps,
        rate: checker.get(&RATE),
        eval_steps: checker.find(&EVAL_STEPS).unwrap_or(steps),
        adapts,
        head_only_until: checker.find(&HEAD_ONLY_UNTIL),
        head,
        norm_per_step,
        rates,
        rate_floor: checker.find(&RATE_FLOOR),
        rates_learning_rate: checker.find(&RATES_LEARNING_RATE),
        proximal: checker.get(&PROXIMAL),
    }
}
