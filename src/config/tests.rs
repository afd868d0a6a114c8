//! Tests of configurations: from text and overrides to a configuration or a message.

use super::{Config, Data, Error, Fault, KeyDoc, Place, RawConfig, keys};
use crate::data::{Fit, Rotations, SplitRule, folder};
use crate::model::{Conv4, Mlp, Network};
use bilevel::Budget;
use bilevel::device::Backend;
use bilevel::estimator::{
    Base, Coin, CostUnit, EstimatorSettings, Exact, StepCoinsSettings, Tracking, UfomSettings,
};
use bilevel::hypergradient::MemoryPlan;
use bilevel::optimizer::Optimizer;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The only key that a configuration must set.
const BUDGET: &str = "outer.steps = 10\n";

fn check(text: &str, overrides: &[&str]) -> Result<Config, Error> {
    let mut raw = RawConfig::parse("test.toml", text)?;
    for assignment in overrides {
        raw.set(assignment)?;
    }
    raw.check()
}

fn checked(text: &str, overrides: &[&str]) -> Config {
    check(text, overrides).unwrap_or_else(|error| panic!("{error}"))
}

fn with_budget(text: &str) -> Config {
    checked(&format!("{BUDGET}{text}"), &[])
}

fn message(text: &str, overrides: &[&str]) -> String {
    check(text, overrides).expect_err("should be refused").to_string()
}

/// The message for `text` with a budget, without its place.
fn refusal(text: &str) -> String {
    let error = check(&format!("{BUDGET}{text}"), &[]).expect_err("should be refused");
    match error {
        Error::Invalid(faults) if faults.len() == 1 => faults[0].reason.clone(),
        other => panic!("one fault expected: {other}"),
    }
}

fn faults(text: &str, overrides: &[&str]) -> Vec<Fault> {
    match check(text, overrides) {
        Err(Error::Invalid(faults)) => faults,
        other => panic!("faults expected: {other:?}"),
    }
}

fn shipped() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let is_sweep = |path: &Path| path.file_name().unwrap().to_str().unwrap().starts_with("sweep-");
    files.filter(|path| path.extension().is_some_and(|end| end == "toml") && !is_sweep(path)).collect()
}

// Accepted configurations.

#[test]
fn shipped_files_load_and_survive_a_round_trip() {
    let files = shipped();
    assert!(files.len() >= 6, "{files:?}");
    for file in files {
        let config = Config::load(Some(&file), &[]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(checked(&config.to_toml().unwrap(), &[]), config, "{}", file.display());
    }
}

#[test]
fn default_is_the_glyphs_file() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/glyphs.toml");
    let config = Config::load(None, &[]).unwrap();
    assert_eq!(config, Config::load(Some(&file), &[]).unwrap());
    assert_eq!((config.task.ways, config.task.shots, config.inner.eval_steps), (5, 1, 3));
    assert_eq!(config.model.architecture, Network::Conv4(Conv4::new(64, 4)));
    assert_eq!(config.images().unwrap().split, Some(SplitRule::FRACTION));
}

#[test]
fn reference_settings_are_those_of_the_paper() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/unbiased-reference.toml");
    let config = Config::load(Some(&file), &[]).unwrap();
    assert_eq!((config.task.ways, config.inner.steps, config.inner.rate), (20, 10, 0.005));
    assert_eq!((config.outer.meta_batch, config.outer.rate), (5, 0.1));
    let base = Base { truncate: 0, coin: Coin::Task, tracking: Tracking::Off, coefficient: None };
    assert_eq!(*config.estimator.last(), EstimatorSettings::Ufom(UfomSettings { q: 0.1, base, beta: None }));
    assert_eq!(config.outer.optimizer, Optimizer::Sgd { momentum: 0.0 });
    assert!(matches!(config.outer.budget, Budget::Evaluations(_)));
}

#[test]
fn every_variant_round_trips() {
    for text in [
        "seed = 9223372036854775807\nbackend = 'cuda'",
        "data = { source = 'folder', path = 'a \"b\"\\é' }",
        "data = { source = 'folder', path = 'x', split = 'listed', invert = true, validation = 0 }\n\
         eval.every = 0",
        "data = { source = 'omniglot', split = 'alphabets', rotations = 'classes' }",
        "data = { rotations = 'episode', flips = true, shift = 27 }",
        "model = { kind = 'mlp', hidden = [3, 2], batch_norm = 'support' }",
        "model = { kind = 'mlp', batch_norm = 'none' }",
        "task.kind = 'sinusoid'",
        "task = { kind = 'sinusoid', shots = 20, queries = 3 }\nmodel = { kind = 'mlp', hidden = [5], batch_norm = 'none' }",
        "model = { pool = 'max', bias = true, negative_slope = 0.01, init = 'xavier' }",
        "model = { kind = 'resnet', layers = 12, filters = 32 }",
        "estimator.name = 'first-order'",
        "estimator = { name = 'truncated', truncate = 1 }",
        "estimator = { name = 'ufom', q = 1, truncate = 1, coin = 'step' }",
        "estimator = { name = 'ufom', tracking = 'fixed', coefficient = 0.5, beta = 0.9 }",
        "estimator = { name = 'adaptive', tracking = 'fitted', compat = 'reference', clip_products = 10 }",
        "estimator = { name = 'step-coins', p = [0.5], coin = 'stratified' }",
        "estimator = { name = 'step-coins', p = 0.5 }",
        "estimator = { name = 'step-coins', curvature_floor = 0.5, costs = 'counted' }",
        "estimator = { name = 'telescoping', survival = 0.5, levels = [1] }",
        "estimator = { name = 'telescoping', levels = 'every', floor = 0.1 }",
        "estimator = { name = 'exact', schedule = ['first-order until 2'] }",
        "estimator = { name = 'exact', schedule = ['truncated until 2', 'ufom until 9'], truncate = 1, q = 0.2 }",
        "estimator = { name = 'ufom', schedule = ['adaptive until 2', 'step-coins until 9'], beta = 0.9, p = 0.5 }",
        "estimator = { name = 'step-coins', schedule = ['telescoping until 5'], floor = 0.1, levels = 'every' }",
        "estimator = { name = 'exact', schedule = ['first-order until 2'] }\ninner.rates = 'learned'",
        "estimator = { name = 'first-order', schedule = ['exact until 2'] }\ninner.rates = 'learned'",
        "memory = { plan = 'auto', budget = 1 }",
        "memory.plan = 'store'",
        "memory = { plan = 'snapshots', snapshots = 3 }",
        "memory.plan = 'snapshots'\ninner = { head = 'prototype', steps = 0 }",
        "memory.plan = 'recompute'",
        "divergence = { drop_tasks = false, action = 'skip', most = 3 }",
        "divergence.action = 'rewind'",
        "deterministic = true\nestimator.name = 'adaptive'",
        "outer = { optimizer = 'sgd', momentum = 0.9, clip = 10 }",
        "outer = { optimizer = 'adamw', beta_1 = 0.5, beta_2 = 0.75, epsilon = 1e-3 }",
        "outer = { schedule = 'constant', weight_decay = 0.1, rate = 0.1234567890123456 }",
        "outer = { schedule = 'linear', final_rate = 1e-5, warmup = 100 }",
        "outer = { rate = 0.1, final_rate = 0.1 }",
        "outer = { schedule = 'constant', warmup = 7 }",
        "inner = { steps = 7, rate = 1e-5, eval_steps = 0 }",
        "inner = { adapts = 'head', rates = 'learned', proximal = 0.5 }",
        "inner = { adapts = 'all-but-norm', norm_per_step = true, rates = 'per-tensor-and-step', rate_floor = 0 }",
        "inner = { head = 'prototype', steps = 0 }",
        "inner = { head = 'shared', rates = 'per-tensor', rates_learning_rate = 0.1 }",
        "outer = { losses = 'all' }",
        "outer = { losses = 'all', losses_until = 100 }",
        "estimator.name = 'reptile'",
        "estimator = { name = 'implicit', iterations = 3, damping = 0.5 }\ninner.proximal = 2",
        "estimator.name = 'implicit'\ninner.adapts = 'head'",
        "task.ways = 30\ninner.head = 'shared'\neval = { ways = 5, shots = 2 }",
    ] {
        let budget = if text.contains("outer") { "" } else { BUDGET };
        let text = text.replace("outer = {", "outer = { steps = 3,");
        let config = checked(&format!("{budget}{text}"), &[]);
        assert_eq!(checked(&config.to_toml().unwrap(), &[]), config, "{text}");
    }
}

#[test]
fn defaults_follow_the_keys_they_depend_on() {
    let config = with_budget("inner.steps = 4\ntask.queries = 9");
    assert_eq!((config.inner.eval_steps, config.eval.queries), (4, 9));
    assert_eq!((config.eval.ways, config.eval.shots), (None, None), "as in training");
    // Validation classes need only suffice for the episodes of validation.
    let few = with_budget("task.ways = 60\ninner.head = 'prototype'\neval.ways = 5\ndata.validation = 5");
    assert_eq!((few.task.ways, few.eval.ways), (60, Some(5)));
    assert_eq!(with_budget("outer.optimizer = 'adamw'").outer.weight_decay, 0.01);
    let memory = with_budget("inner.steps = 10\nmemory.plan = 'snapshots'").memory;
    assert_eq!(memory, MemoryPlan::Snapshots { snapshots: 4 });

    let same = checked("deterministic = true\nouter.steps = 1\nestimator.name = 'adaptive'", &[]);
    let EstimatorSettings::Adaptive(adaptive) = same.estimator.last() else { panic!("{:?}", same.estimator) };
    assert_eq!((adaptive.tuning.costs, same.backend), (CostUnit::Counted, Backend::Flex));

    let omniglot = with_budget("data.source = 'omniglot'").data.unwrap();
    assert_eq!(omniglot.path.as_deref(), Some(Path::new("datasets/omniglot")));
    assert_eq!((omniglot.split, omniglot.rotations), (Some(SplitRule::RANDOM_1200), Rotations::Classes));
    let alphabets = with_budget("data = { source = 'omniglot', split = 'alphabets' }").data.unwrap();
    assert_eq!(alphabets.rotations, Rotations::None);

    let folder = with_budget("data = { source = 'folder', path = 'letters' }").data.unwrap();
    let expected = Data {
        source: &folder::SOURCE,
        path: Some("letters".into()),
        list: None,
        split: None,
        validation: None,
        rotations: Rotations::None,
        flips: false,
        shift: 0,
        warp: 0.0,
        image_size: 28,
        channels: None,
        fit: Some(Fit::Stretch),
        invert: None,
        skip_damaged: false,
        cache: "datasets/.cache".into(),
        mean: None,
        deviation: None,
    };
    assert_eq!(folder, expected);
}

#[test]
fn schedule_lists_the_estimators_before_the_last() {
    let text = "deterministic = true\nestimator = { name = 'step-coins', q = 0.2, curvature_floor = 0.5, \
                schedule = ['first-order until 100', 'ufom until 200', 'adaptive until 300'] }";
    let schedule = with_budget(text).estimator;
    let ends: Vec<u64> = schedule.earlier().iter().map(|phase| phase.until).collect();
    assert_eq!(ends, [100, 200, 300]);
    assert_eq!(
        schedule.to_string(),
        "first-order until step 100, then ufom until step 200, then adaptive until step 300, then step-coins"
    );
    assert!(matches!(schedule.estimator(1), EstimatorSettings::Ufom(ufom) if ufom.q == 0.2));
    assert!(matches!(schedule.estimator(2), EstimatorSettings::Adaptive(adaptive)
        if adaptive.tuning.costs == CostUnit::Counted));
    assert!(
        matches!(schedule.last(), EstimatorSettings::StepCoins(StepCoinsSettings::Adaptive { tuning, curvature_floor, .. })
        if tuning.costs == CostUnit::Counted && *curvature_floor == 0.5)
    );
}

#[test]
fn settings_are_written_as_before_without_a_schedule_final_rate_and_warm_up() {
    let written = with_budget("").to_toml().unwrap();
    for key in ["schedule = [", "final_rate", "warmup"] {
        assert!(!written.contains(key), "{written}");
    }
    assert!(written.contains("[estimator]\nname = \"exact\"\n\n"), "{written}");
}

#[test]
fn rotations_as_earlier_versions_wrote_them_are_read() {
    for (old, new) in [("true", Rotations::Classes), ("false", Rotations::None)] {
        let config = with_budget(&format!("data.rotations = {old}"));
        assert_eq!(config.images().unwrap().rotations, new);
        assert!(config.to_toml().unwrap().contains(&format!("rotations = \"{new}\"")));
    }
}

// Overrides.

#[test]
fn overrides_are_toml_or_bare_strings() {
    let overrides = [
        "outer.optimizer=sgd",
        "inner.rate = 1",
        "data.rotations=episode",
        "backend=\"flex\"",
        "model={kind='mlp',hidden=[8]}",
        "seed=1",
        "seed=2",
    ];
    let config = checked(BUDGET, &overrides);
    assert_eq!(config.outer.optimizer, Optimizer::Sgd { momentum: 0.0 });
    assert_eq!(
        (config.inner.rate, config.images().unwrap().rotations, config.seed),
        (1.0, Rotations::Episode, 2)
    );
    assert_eq!(config.model.architecture, Network::Mlp(Mlp::new(&[8])));
}

#[test]
fn overrides_without_key_or_value_are_refused() {
    for text in ["inner.steps", "=5", " = 5"] {
        assert!(message(BUDGET, &[text]).contains("expected key=value"), "{text}");
    }
    assert_eq!(
        message(BUDGET, &["inner.setps=5"]),
        "--set inner.setps=5: unknown key `inner.setps` (= 5); did you mean `inner.steps`?"
    );
}

#[test]
fn override_of_one_budget_replaces_the_other() {
    let budget = |text, overrides: &[&str]| checked(text, overrides).outer.budget;
    assert_eq!(budget(BUDGET, &["outer.evaluations=77"]), Budget::Evaluations(77));
    assert_eq!(budget("outer.evaluations = 5", &["outer.steps=77"]), Budget::Steps(77));
    assert_eq!(budget("", &["outer.steps=77"]), Budget::Steps(77));
    assert!(message("", &["outer.steps=7", "outer.evaluations=7"]).contains("one budget"));
}

#[test]
fn override_of_a_choice_drops_keys_of_the_other_choice() {
    let ufom = format!("{BUDGET}estimator = {{ name = 'ufom', q = 0.2, truncate = 1 }}");
    assert_eq!(checked(&ufom, &["estimator.name=exact"]).estimator, Exact {}.into());
    let message = message(&ufom, &["estimator.name=exact", "estimator.q=0.3"]);
    assert!(message.starts_with("--set estimator.q=0.3: `estimator.q` (= 0.3) has no effect"));

    let several = format!("{BUDGET}checkpoint.keep_best = 3");
    assert_eq!(checked(&several, &[]).checkpoint.keep_best, 3);
    assert_eq!(checked(&several, &["eval.every=0"]).checkpoint.keep_best, 1);
    let scheduled = format!("{BUDGET}estimator = {{ schedule = ['ufom until 3'], q = 0.2 }}");
    let without = checked(&scheduled, &["estimator.schedule=[]"]).estimator;
    assert_eq!(without, Exact {}.into());
    let other = checked(&scheduled, &["estimator.schedule=['first-order until 5']"]).estimator;
    assert_eq!(other.to_string(), "first-order until step 5, then exact");
    let renamed = checked(&scheduled, &["estimator.name=first-order"]).estimator;
    assert_eq!(renamed.to_string(), "ufom until step 3, then first-order");

    let glyphs = format!("{BUDGET}data.split = 'fraction'");
    let data = checked(&glyphs, &["data.source=omniglot"]).data.unwrap();
    assert_eq!(data.split, Some(SplitRule::RANDOM_1200));

    let table = format!("{BUDGET}data = {{ source = 'cifar100', split = 'cifar-fs', validation = 16 }}");
    let validation = |overrides: &[&str]| checked(&table, overrides).data.unwrap().validation;
    assert_eq!((validation(&[]), validation(&["data.split=fc100"])), (Some(16), None));
    assert_eq!(validation(&["data.split=fc100", "data.validation=20"]), Some(20));
}

#[test]
fn an_empty_list_overrides_a_list_of_images() {
    let listed = format!("{BUDGET}data = {{ source = 'folder', path = 'x', list = 'y' }}");
    let list = |overrides: &[&str]| checked(&listed, overrides).data.unwrap().list;
    assert_eq!(list(&[]).as_deref(), Some(Path::new("y")));
    for none in ["data.list=", "data.list=\"\"", "data={list=''}"] {
        assert_eq!(list(&[none]), None, "{none}");
    }
}

#[test]
fn fault_names_the_override_when_it_makes_a_default_invalid() {
    let ways = message(BUDGET, &["task.ways=200"]);
    assert!(ways.starts_with("--set task.ways=200: `data.validation` (= 100) must be at least"), "{ways}");
    let table = message(BUDGET, &["inner.steps={}"]);
    assert!(table.ends_with("must be a whole number ≥ 0, got a table"), "{table}");
}

#[cfg(unix)]
#[test]
fn to_toml_refuses_a_path_that_is_not_utf8() {
    use std::os::unix::ffi::OsStringExt;
    let mut config = with_budget("");
    config.data.as_mut().unwrap().path = Some(std::ffi::OsString::from_vec(vec![0xff]).into());
    assert!(matches!(config.to_toml(), Err(Error::Write(_))));
}

// Refused configurations, and the messages.

#[test]
fn unknown_key_suggests_the_most_similar_key() {
    for (wrong, advice) in [
        ("inner.setps = 5", "unknown key `inner.setps` (= 5); did you mean `inner.steps`?"),
        ("iner.rate = 1", "unknown key `iner.rate` (= 1); did you mean `inner.rate`?"),
        ("sede = 1", "unknown key `sede` (= 1); did you mean `seed`?"),
        ("ways = 5", "unknown key `ways` (= 5); did you mean `task.ways` or `eval.ways`?"),
        ("steps = 5", "unknown key `steps` (= 5); did you mean `inner.steps` or `outer.steps`?"),
        ("\"task.ways\" = 9", "unknown key `\"task.ways\"` (= 9); did you mean `task.ways`?"),
        ("outer.beta1 = 0.5", "unknown key `outer.beta1` (= 0.5); did you mean `outer.beta_1`?"),
        ("inner.xyzzyxyzzy = 1", "the keys of [inner] are `inner.steps`, `inner.rate`, "),
        ("frobnicate = 1", "the sections are `data`, `task`, `model`"),
        ("[innr]", "unknown key `innr` (= a table)"),
        ("inner.lr = 1", "the keys of [inner] are"),
        ("seed.x = 1", "unknown key `seed.x` (= 1); "),
    ] {
        let refusal = refusal(wrong);
        assert!(refusal.contains(advice), "{wrong}: {refusal}");
    }
}

#[test]
fn key_without_one_letter_is_suggested() {
    for KeyDoc { key, .. } in keys() {
        let cut = key.len() - 2;
        let typo = format!("{}{}", &key[..cut], &key[cut + 1..]);
        let text = format!("{typo} = 'x'\n");
        let fault = &faults(&text, &["outer.steps=1"])[0];
        assert!(fault.reason.contains(&format!("`{key}`")), "{fault}");
    }
}

#[test]
fn wrong_types_and_ranges_name_the_values_allowed() {
    for (wrong, reason) in [
        ("inner.steps = \"five\"", "`inner.steps` must be a whole number ≥ 0, got \"five\""),
        ("inner.steps = -1", "`inner.steps` must be a whole number ≥ 0, got -1"),
        ("inner.steps = 1.5", "`inner.steps` must be a whole number ≥ 0, got 1.5"),
        ("inner.steps = 1000001", "must be a whole number from 0 to 1000000, got 1000001"),
        ("task.ways = 1", "`task.ways` must be a whole number ≥ 2, got 1"),
        ("data.image_size = 7", "`data.image_size` must be a whole number from 8 to 256, got 7"),
        ("seed = 9223372036854775808", "from 0 to 9223372036854775807, got 9.223372036854776e18"),
        ("inner.rate = 0", "`inner.rate` must be a number > 0, got 0"),
        ("inner.rate = nan", "`inner.rate` must be a number > 0, and finite, got nan"),
        ("inner.rate = inf", "`inner.rate` must be a number > 0, and finite, got inf"),
        ("inner.rate = 1e-300", "must be a number > 0 in single precision, got 1e-300"),
        ("inner.proximal = -0.1", "`inner.proximal` must be a number ≥ 0, got -0.1"),
        (
            "inner.adapts = 'body'",
            "`inner.adapts` must be one of \"all\", \"all-but-norm\", \"head\", got \"body\"",
        ),
        (
            "inner.rates = 0.1",
            "`inner.rates` must be one of \"fixed\", \"learned\", \"per-tensor\", \"per-tensor-and-step\", got 0.1",
        ),
        (
            "estimator = { name = 'implicit', iterations = 0 }\ninner.proximal = 1",
            "`estimator.iterations` must be a whole number ≥ 1, got 0",
        ),
        (
            "estimator = { name = 'implicit', damping = -1 }\ninner.proximal = 1",
            "`estimator.damping` must be a number ≥ 0, got -1",
        ),
        ("inner.rate = 1e300", "must be a number > 0 in single precision, got 1"),
        ("outer.beta_1 = 1.0", "`outer.beta_1` must be a number ≥ 0 and < 1, got 1.0"),
        ("outer.clip = 0.0", "`outer.clip` must be a number > 0, got 0.0"),
        ("data.rotations = 1", "`data.rotations` must be one of \"none\", \"classes\", \"episode\", got 1"),
        ("data.flips = 1", "`data.flips` must be true or false, got 1"),
        ("data.warp = 0.5", "`data.warp` must be a number ≥ 0 and < 0.5, got 0.5"),
        ("data.shift = -1", "`data.shift` must be a whole number ≥ 0, got -1"),
        (
            "memory = { plan = 'snapshots', snapshots = 0 }",
            "`memory.snapshots` must be a whole number ≥ 1, got 0",
        ),
        ("backend = 'gpu'", "one of \"auto\", \"flex\", \"ndarray\", \"wgpu\", \"vulkan\", \"cuda\""),
        ("inner = 5", "`inner` (= 5) is a section; its keys are `inner.steps`, `inner.rate`, "),
        ("[[inner]]", "`inner` (= [{}]) is a section; its keys are"),
        ("model = { kind = 'mlp', hidden = [] }", "a list of 1 to 16 widths, each a whole number"),
        ("model = { kind = 'mlp', hidden = [0] }", "from 1 to 65536, got [0]"),
        ("data = { source = 'folder', path = '' }", "`data.path` must be a path in quotes, got \"\""),
        (
            "data = { source = 'folder', path = 'x', list = 1 }",
            "`data.list` must be a path in quotes, or \"\" for none, got 1",
        ),
    ] {
        let refusal = refusal(wrong);
        assert!(refusal.contains(reason), "{wrong}: {refusal}");
    }
}

#[test]
fn q_must_be_a_positive_probability() {
    for q in ["0", "-0.1", "1.0001", "nan", "1e-60"] {
        let refusal = refusal(&format!("estimator = {{ name = 'ufom', q = {q} }}"));
        assert!(refusal.contains("must be a number > 0 and ≤ 1"), "{refusal}");
    }
}

#[test]
fn contradictions_name_both_keys() {
    for (wrong, reason) in [
        ("estimator = { name = 'truncated', truncate = 2 }", "from 0 to 1 (inner.steps), got 2"),
        ("estimator = { name = 'ufom', truncate = 2 }", "from 0 to 1 (inner.steps), got 2"),
        ("estimator.name = 'truncated'", "`estimator.truncate` is missing"),
        (
            "estimator.q = 0.5",
            "`estimator.q` (= 0.5) has no effect with estimator.name = \"exact\": \
             it applies only to \"ufom\"",
        ),
        ("estimator = { name = 'ufom', beta = 0.5 }", "averages only the error that it tracks"),
        ("estimator = { name = 'exact', beta = 0.5 }", "without survival"),
        ("estimator = { name = 'ufom', coefficient = 0.5 }", "only tracking \"fixed\""),
        (
            "estimator = { name = 'exact', tracking = 'fitted' }",
            "it applies only to \"ufom\" and \"adaptive\"",
        ),
        ("estimator = { name = 'step-coins', p = 0.5, floor = 0.5 }", "if `estimator.p` is given"),
        (
            "estimator = { name = 'telescoping', survival = 0.5, costs = 'counted' }",
            "`estimator.survival` is given",
        ),
        (
            "estimator = { name = 'telescoping', curvature_floor = 1 }",
            "it applies only to \"step-coins\" without p",
        ),
        ("estimator = { name = 'step-coins', p = [0.5, 0.5] }", "a list of 1 (inner.steps), got 2"),
        ("estimator = { name = 'step-coins', p = [0.5, 0] }", "or a list of them"),
        ("estimator = { name = 'telescoping', levels = [2] }", "depths from 1 to 1 (inner.steps), got 2"),
        ("estimator = { name = 'telescoping', levels = [2, 1] }", "an ascending list"),
        ("estimator = { name = 'adaptive', clip_products = 1 }", "clipping in the backward pass biases"),
        ("estimator = { name = 'adaptive', p = 0.5 }", "it applies only to \"step-coins\""),
        ("estimator.iterations = 3", "it applies only to \"implicit\""),
        ("estimator = { name = 'reptile', damping = 1 }", "it applies only to \"implicit\""),
        (
            "estimator = { name = 'reptile', truncate = 1 }",
            "it applies only to \"truncated\", \"ufom\", \"adaptive\" and \"telescoping\"",
        ),
        (
            "estimator.name = 'reptile'\ninner.adapts = 'head'",
            "`inner.adapts` = \"head\" cannot be combined with estimator.name = \"reptile\": it moves no weight",
        ),
        (
            "inner.steps = 0",
            "`inner.steps` = 0 cannot be combined with inner.head = \"learned\": without an inner step",
        ),
        (
            "inner = { steps = 0, head = 'prototype' }\nestimator.name = 'step-coins'",
            "`inner.steps` = 0 cannot be combined with estimator \"step-coins\": there is no inner step",
        ),
        (
            "inner = { rates = 'learned', head = 'prototype' }",
            "`inner.rates` = \"learned\" cannot be combined with inner.head = \"prototype\"",
        ),
        ("inner.rate_floor = 0.1", "`inner.rate_floor` (= 0.1) has no effect with inner.rates = \"fixed\""),
        (
            "inner.rates_learning_rate = 0.1",
            "`inner.rates_learning_rate` (= 0.1) has no effect with inner.rates = \"fixed\"",
        ),
        (
            "inner.norm_per_step = true",
            "`inner.norm_per_step` = true cannot be combined with inner.adapts = \"all\"",
        ),
        ("outer.losses_until = 5", "`outer.losses_until` (= 5) has no effect with outer.losses = \"last\""),
        (
            "outer.losses = 'all'\nestimator.name = 'reptile'",
            "`outer.losses` = \"all\" cannot be combined with estimator \"reptile\": it does not differentiate",
        ),
        (
            "outer.losses = 'all'\nestimator.name = 'implicit'\ninner.proximal = 1",
            "`outer.losses` = \"all\" cannot be combined with estimator \"implicit\": it assumes a minimum",
        ),
        (
            "estimator.name = 'reptile'\ninner.adapts = 'all-but-norm'",
            "`inner.adapts` = \"all-but-norm\" cannot be combined with estimator.name = \"reptile\"",
        ),
        (
            "estimator.name = 'first-order'\ninner.rates = 'per-tensor'",
            "`inner.rates` = \"per-tensor\" cannot be combined with estimator.name = \"first-order\"",
        ),
        (
            "estimator.name = 'reptile'\ninner.rates = 'learned'",
            "`inner.rates` = \"learned\" cannot be combined with estimator.name = \"reptile\"",
        ),
        (
            "estimator.name = 'first-order'\ninner.rates = 'learned'",
            "the inner rates have no gradient if no inner step is differentiated",
        ),
        ("estimator = { name = 'truncated', truncate = 0 }\ninner.rates = 'learned'", "no gradient"),
        (
            "estimator.name = 'implicit'\ninner = { rates = 'learned', proximal = 1 }",
            "the minimum of the inner loss does not depend on the rates",
        ),
        (
            "estimator.name = 'implicit'",
            "`inner.proximal` = 0 cannot be combined with estimator.name = \"implicit\"",
        ),
        (
            "checkpoint.keep_best = 3\neval.every = 0",
            "`checkpoint.keep_best` (= 3) has no effect with eval.every = 0",
        ),
        (
            "estimator.schedule = 'first-order until 5'",
            "`estimator.schedule` must be a list of phases with ascending steps, such as [\"first-order until 1000\", \
             \"step-coins until 5000\"] (\"first-order until 5\" is not a list), got \"first-order until 5\"",
        ),
        ("estimator.schedule = [5]", "(5 is not of the form \"ESTIMATOR until STEP\")"),
        ("estimator.schedule = ['exact until']", "(\"exact until\" is not of the form"),
        ("estimator.schedule = ['exact until 5 6']", "is not of the form"),
        (
            "estimator.schedule = ['fomaml until 5']",
            "\"fomaml until 5\" names no estimator: it must be one of first-order, ",
        ),
        (
            "estimator.schedule = ['exact until 0']",
            "(\"exact until 0\" does not end with a whole number ≥ 1)",
        ),
        ("estimator.schedule = ['exact until 1.5']", "does not end with a whole number ≥ 1"),
        ("estimator.schedule = ['exact until 99999999999999999999']", "does not end with a whole number ≥ 1"),
        (
            "estimator.schedule = ['first-order until 5', 'ufom until 5']",
            "(\"ufom until 5\" must end after \"first-order until 5\")",
        ),
        (
            "estimator = { schedule = ['first-order until 5'], q = 0.5 }",
            "`estimator.q` (= 0.5) has no effect with estimator.name = \"exact\": it applies only to \"ufom\", which \
             estimator.schedule does not list",
        ),
        (
            "estimator = { schedule = ['ufom until 5'], beta = 0.5 }",
            "\"ufom\" averages only the error that it tracks",
        ),
        (
            "estimator = { schedule = ['step-coins until 5'], p = 0.5, floor = 0.5 }",
            "`estimator.floor` has no effect if `estimator.p` is given",
        ),
        (
            "estimator.schedule = ['truncated until 5']",
            "`estimator.truncate` is missing: in estimator.schedule, \"truncated\" needs a whole number from 0 to 1",
        ),
        (
            "estimator = { name = 'first-order', schedule = ['reptile until 5'] }\ninner.rates = 'learned'",
            "cannot be combined with estimator.name = \"first-order\" and those in estimator.schedule: ",
        ),
        (
            "deterministic = true\nestimator = { schedule = ['adaptive until 5'], costs = 'measured' }",
            "`estimator.costs` = \"measured\" cannot be combined with deterministic = true",
        ),
        (
            "outer.schedule = 'constant'\nouter.final_rate = 0.1",
            "`outer.final_rate` (= 0.1) has no effect with outer.schedule = \"constant\": the learning rate does not change",
        ),
        ("outer.final_rate = 0.1", "`outer.final_rate` must be at most outer.rate = 0.001, got 0.1"),
        ("outer.final_rate = -1", "`outer.final_rate` must be a number ≥ 0, got -1"),
        ("outer.warmup = -1", "`outer.warmup` must be a whole number ≥ 0, got -1"),
        ("outer.momentum = 0.9", "has no effect with outer.optimizer = \"adam\": only \"sgd\""),
        ("outer.optimizer = 'sgd'\nouter.beta_2 = 0.9", "only \"adam\" and \"adamw\""),
        (
            "memory.snapshots = 3",
            "`memory.snapshots` (= 3) has no effect with memory.plan = \"auto\": only \"snapshots\"",
        ),
        ("memory = { plan = 'store', budget = 1 }", "with memory.plan = \"store\": only \"auto\""),
        ("divergence.most = 3", "`divergence.most` (= 3) has no effect with divergence.action = \"stop\""),
        (
            "deterministic = true\nbackend = 'wgpu'",
            "`deterministic` = true cannot be combined with backend = \"wgpu\": GPU kernels are chosen by measured times",
        ),
        (
            "deterministic = true\nestimator = { name = 'adaptive', costs = 'measured' }",
            "`estimator.costs` = \"measured\" cannot be combined with deterministic = true",
        ),
        ("model.hidden = [3]", "has no effect with model.kind = \"conv4\""),
        ("model = { kind = 'mlp', blocks = 3 }", "has no effect with model.kind = \"mlp\""),
        ("model.blocks = 6", "from 1 to 5: each block halves the image, and data.image_size = 28"),
        (
            "model = { pool = 'max', blocks = 5 }",
            "from 1 to 4: each block halves the image, and data.image_size = 28",
        ),
        ("model.layers = 4", "has no effect with model.kind = \"conv4\""),
        ("model = { kind = 'mlp', pool = 'max' }", "has no effect with model.kind = \"mlp\""),
        ("model = { kind = 'mlp', bias = true }", "has no effect with model.kind = \"mlp\""),
        ("model = { kind = 'resnet', blocks = 3 }", "has no effect with model.kind = \"resnet\""),
        ("model = { kind = 'resnet', layers = 6 }", "must be 4, 8 or 12, got 6"),
        ("model = { kind = 'resnet', filters = 513 }", "must be at most 512 with model.kind = \"resnet\""),
        ("model.batch_norm = 'none'", "only an \"mlp\" can do without batch norm"),
        (
            "task.kind = 'sinusoid'\ndata.image_size = 14",
            "no effect with task.kind = \"sinusoid\": its episodes",
        ),
        ("task = { kind = 'sinusoid', ways = 2 }", "a curve has no classes"),
        ("model.negative_slope = -0.1", "must be a number ≥ 0"),
        ("data.path = 'x'", "`data.path` (= \"x\") has no effect with data.source = \"glyphs\""),
        ("data.source = 'folder'", "`data.path` is missing"),
        ("data.invert = true", "has no effect with data.source = \"glyphs\""),
        ("data.split = 'listed'", "must be \"fraction\" for data.source = \"glyphs\""),
        ("data.shift = 28", "`data.shift` (= 28) must be less than data.image_size = 28: a larger shift"),
        ("data = { image_size = 16, shift = 17 }", "must be less than data.image_size = 16"),
        ("data.validation = 4", "must be at least task.ways = 5"),
        (
            "data.validation = 6\ninner.head = 'shared'\neval.ways = 7",
            "`data.validation` (= 6) must be at least eval.ways = 7",
        ),
        (
            "eval.ways = 7",
            "`eval.ways` = 7 differs from task.ways = 5, the number of rows of a head that is \"learned\"",
        ),
        ("eval.ways = 1", "`eval.ways` must be a whole number ≥ 2, got 1"),
        (
            "task.kind = 'sinusoid'\neval.ways = 3",
            "`eval.ways` (= 3) has no effect with task.kind = \"sinusoid\"",
        ),
    ] {
        let refusal = refusal(wrong);
        assert!(refusal.contains(reason), "{wrong}: {refusal}");
    }
}

#[test]
fn exactly_one_budget_is_required() {
    assert_eq!(
        message("", &[]),
        "test.toml: no budget; set `outer.steps` or `outer.evaluations` to a whole number ≥ 1"
    );
    let both = message("[outer]\nsteps = 1\nevaluations = 1", &[]);
    assert!(both.starts_with("test.toml, line 3: ") && both.contains("one budget"), "{both}");
}

#[test]
fn all_faults_are_listed_in_the_order_of_the_file() {
    let text = "[inner]\nsteps = 'five'\nrate = -1\n\n[task]\nwasy = 3\n[estimator]\n\
                name = 'truncated'\ntruncate = 3";
    let found = faults(text, &["backend=gpu"]);
    let summary: Vec<_> = found.iter().map(|fault| (fault.key.as_str(), &fault.place)).collect();
    let line = |line| Place::File { name: "test.toml".into(), line };
    assert_eq!(
        summary,
        [
            ("inner.steps", &line(Some(2))),
            ("inner.rate", &line(Some(3))),
            ("task.wasy", &line(Some(6))),
            ("outer.steps", &line(None)),
            ("backend", &Place::Override { text: "backend=gpu".into() }),
        ],
        "no fault of truncate, because inner.steps is refused already"
    );
    assert!(message(text, &[]).starts_with("4 settings are invalid:\n  test.toml, line 2: "));
}

#[test]
fn invalid_toml_is_refused_with_its_line() {
    let text = message("seed = 1\nbackend = \n", &[]);
    assert!(text.starts_with("test.toml, line 2: not valid TOML: "), "{text}");
    let text = message("seed = 1\nseed = 2\n", &[]);
    assert!(text.starts_with("test.toml, line 2: not valid TOML: duplicate key"), "{text}");
}

// Files that are not configurations.

#[test]
fn unreadable_files_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        Config::load(Some(&path), &[]).unwrap_err().to_string()
    };
    assert!(refusal("latin.toml", b"seed = 1\n# caf\xe9\n").contains("line 2: not UTF-8 text"));
    let large = vec![b'#'; 10 << 20];
    assert!(refusal("large.toml", &large).contains("is larger than 1048576 bytes"));

    let load = |path: &Path| Config::load(Some(path), &[]).unwrap_err().to_string();
    assert!(load(folder.path()).contains("is a directory"));
    let missing = load(Path::new("no/such.toml"));
    assert_eq!(missing, "cannot read configuration no/such.toml: no such file");
}

#[test]
fn hostile_text_yields_a_short_message() {
    let deep_array = format!("seed = {}", "[".repeat(100_000));
    let deep_key = format!("{} = 1", ["a"; 100_000].join("."));
    let deep_table = format!("[{}]", ["a"; 100_000].join("."));
    let long_key = format!("{} = 1", "k".repeat(1_000_000));
    let long_value = format!("inner.rate = '{}'", "v".repeat(1_000_000));
    let deep_inline = format!("a = {}", "{a = ".repeat(100_000));
    let deep_mixed = format!("a = {}", "[{a = ".repeat(100_000));
    let deep_steps: String = (1..500).map(|depth| format!("[{}]\n", vec!["a"; depth].join("."))).collect();
    let signs = format!("seed = {}1", "-".repeat(1_000_000));
    let many: String = (0..50_000).map(|index| format!("inner.key{index} = 1\n")).collect();
    let many_tables = "[[inner]]\n".repeat(100_000);
    // If each key were kept in full, these would take gigabytes.
    let names: String = (0..60_000).map(|index| format!("a{index}=1\n")).collect();
    let below_long_name = format!("[{}]\n{names}", "k".repeat(400_000));
    let below_long_path = format!("[{}]\n{names}", vec!["k".repeat(5_000); 70].join("."));
    for text in [
        deep_array,
        deep_key,
        deep_table,
        deep_inline,
        deep_mixed,
        deep_steps,
        long_key,
        long_value,
        signs,
        many,
        many_tables,
        below_long_name,
        below_long_path,
        "\0".repeat(1_000_000),
        "\u{feff}\u{feff}".into(),
    ] {
        let message = message(&text, &[]);
        assert!(message.len() < 10_000, "{}", &message[..200]);
    }
    let deep = |part: &str| part.repeat(100_000);
    for set in [
        format!("{}a=1", deep("a.")),
        format!("a={}", deep("[")),
        format!("a={}", deep("{a=")),
        format!("a={{{}}}", (0..20_000).map(|index| format!("a{index}=1,")).collect::<String>()),
        format!("{}={}", deep("a"), deep("b")),
    ] {
        let message = message(BUDGET, &[&set]);
        assert!(message.len() < 20_000, "{}", &message[..200]);
    }
    let written = message("backend = \"\\u001b[31m\\nred\"\n\"\\u001b\" = 1", &["outer.steps=1"]);
    let set = message(BUDGET, &["backend=\u{1b}[31m\nred", "\u{1b}=1"]);
    assert!(!(written + &set).contains('\u{1b}'));
}

#[test]
fn documented_defaults_equal_the_actual_defaults() {
    for KeyDoc { key, default, .. } in keys() {
        let Ok(value) = default.parse::<toml::Value>() else { continue };
        let implicit = checked(BUDGET, &[]);
        match check(BUDGET, &[&format!("{key}={value}")]) {
            Ok(explicit) => assert_eq!(explicit, implicit, "{key}"),
            Err(error) => assert!(error.to_string().contains("has no effect with"), "{error}"),
        }
    }
}

// The list of keys.

#[test]
fn keys_are_unique_and_documented() {
    let names: BTreeSet<_> = keys().iter().map(|doc| doc.key).collect();
    assert_eq!(names.len(), keys().len());
    for doc in keys() {
        assert!(doc.doc.ends_with('.') && !doc.accepts.is_empty() && !doc.default.is_empty());
    }
    let steps = keys().iter().find(|doc| doc.key == "inner.steps").unwrap();
    assert_eq!((steps.accepts.as_str(), steps.default.as_str()), ("a whole number ≥ 0", "1"));
}
