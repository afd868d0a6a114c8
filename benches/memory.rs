//! Peak memory of one exact gradient, by memory plan and number of inner steps, on the CPU's flex
//! backend: `cargo bench --bench memory`, with `-- conv4` or `-- mlp` for one table only.
//!
//! - conv4: one task of 20-way 1-shot, 28 × 28, Conv4-64. `-- --long` recomputes at r = 300 too.
//! - mlp: one task of 2-way 1-shot, 16 × 16, one hidden layer; steps so short that r = 1000 can be
//!   recomputed.
//!
//! Every row is a process of its own, and its peak the most of it that was ever resident (VmHWM of
//! Linux; elsewhere it cannot be measured). The allocator is not the program's but glibc's, told to
//! map every large block by itself: what is freed is gone at once, and the peak is that of live
//! tensors. The program's mimalloc is faster because it keeps freed blocks at hand, and they would
//! blur what is asked here. MAML's φ_0 is a view of θ, so m iterates kept are m − 1 copies of φ.

use burn::tensor::{Distribution, Tensor};
use metaburn::bench::peak_resident;
use metaburn::config::{Backend, BatchNorm};
use metaburn::hypergradient::{Draw, Memory, estimate_within};
use metaburn::model::{Architecture, Conv4Config, MlpConfig, initialise};
use metaburn::problem::{Batch, FewShot};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::io::{IsTerminal, Read};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One row of a table, measured by a process.
#[derive(Clone, Copy)]
struct Row {
    network: &'static str,
    plan: &'static str,
    steps: usize,
}

/// What the process says.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Measured {
    peak_bytes: u64,
    /// One φ's.
    fast_bytes: u64,
    iterate_bytes: u64,
    recomputed: u64,
    seconds: f64,
}

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Blocks of so many bytes are mapped by themselves; all but a network's vectors are larger.
const MAPPED: &str = "65536";

/// Plans, the one that keeps least first, and their r.
type Plans = [(&'static str, &'static [usize])];

const CONV4: &Plans = &[("recompute", &[10, 100]), ("snapshots", &[10, 100, 1000]), ("store", &[10, 100])];
const CONV4_LONG: &Plans =
    &[("recompute", &[10, 100, 300]), ("snapshots", &[10, 100, 1000]), ("store", &[10, 100])];
const MLP: &Plans =
    &[("recompute", &[10, 100, 1000]), ("snapshots", &[10, 100, 1000]), ("store", &[10, 100, 1000])];

fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if let [marker, network, plan, steps] = &*words
        && marker == "measure"
    {
        println!("{}", serde_json::to_string(&measure(network, plan, steps.parse()?)?)?);
        return Ok(());
    }
    let says = |word: &str| words.iter().any(|other| other == word);
    if !says("mlp") {
        table("conv4", if says("--long") { CONV4_LONG } else { CONV4 })?;
        println!("left out: store at r = 1000, a thousand copies of φ;");
        println!("          recompute at r = 1000, 499500 inner steps taken again, hours");
        if !says("--long") {
            println!("          recompute at r = 300, 44850 inner steps taken again: -- --long");
        }
    }
    if !says("conv4") {
        table("mlp", MLP)?;
    }
    Ok(())
}

/// Measures `network` and prints what it took; "+ φ" is above the first plan's first r, in copies of φ.
fn table(network: &'static str, plans: &Plans) -> Outcome<()> {
    println!("\n{network}");
    print_row(
        ["plan", "r", "φ kept", "MiB", "peak MiB", "+ first-order", "+ φ", "again", "seconds"]
            .map(Into::into),
    );
    let mut pace = 0.0;
    let first_order = Row { network, plan: "first-order", steps: 10 }.run(&mut pace)?;
    let mut least = None;
    let rows = plans.iter().flat_map(|(plan, all)| all.iter().map(move |steps| (*plan, *steps)));
    for (plan, steps) in [("first-order", 10)].into_iter().chain(rows) {
        let found = match plan {
            "first-order" => first_order,
            _ => Row { network, plan, steps }.run(&mut pace)?,
        };
        let above = |other: u64| found.peak_bytes as f64 - other as f64;
        let copies = (plan != "first-order")
            .then(|| above(*least.get_or_insert(found.peak_bytes)) / found.fast_bytes as f64);
        print_row([
            plan.into(),
            steps.to_string(),
            (found.iterate_bytes / found.fast_bytes).to_string(),
            mebibytes(found.iterate_bytes as f64),
            mebibytes(found.peak_bytes as f64),
            mebibytes(above(first_order.peak_bytes)),
            copies.map_or_else(String::new, |copies| format!("{copies:.1}")),
            found.recomputed.to_string(),
            format!("{:.1}", found.seconds),
        ]);
    }
    Ok(())
}

fn mebibytes(bytes: f64) -> String {
    format!("{:.1}", bytes / f64::from(1 << 20))
}

fn print_row(cells: [String; 9]) {
    let [plan, rest @ ..] = cells;
    let rest: String = rest.iter().map(|cell| format!(" {cell:>13}")).collect();
    println!("{plan:>11}{rest}");
}

impl Row {
    /// Runs its process. `pace` is seconds per inner step, known from the rows before; with it the
    /// time left is shown.
    fn run(self, pace: &mut f64) -> Outcome<Measured> {
        let Self { network, plan, steps } = self;
        let again = memory(plan, steps).map_or(0, |memory| memory.recomputed(steps));
        // A product takes about as long as three gradients.
        let work = (again + 4 * steps as u64) as f64;
        let began = Instant::now();
        let mut child = Command::new(std::env::current_exe()?)
            .args(["measure", network, plan, &steps.to_string()])
            .env("MALLOC_MMAP_THRESHOLD_", MAPPED)
            .stdout(Stdio::piped())
            .spawn()?;
        while child.try_wait()?.is_none() {
            std::thread::sleep(Duration::from_millis(100));
            let left = *pace * work - began.elapsed().as_secs_f64();
            if std::io::stderr().is_terminal() && left > 1.0 {
                eprint!("\r{network}, {plan}, r = {steps}: about {left:.0} s left \x1b[K");
            }
        }
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
        let mut said = String::new();
        child.stdout.take().ok_or("a process without output")?.read_to_string(&mut said)?;
        let measured: Measured = serde_json::from_str(&said)
            .map_err(|_| format!("{network}, {plan}, r = {steps} could not be measured"))?;
        *pace = measured.seconds / work;
        Ok(measured)
    }
}

/// The plan called `name`; `None` for first-order, which walks nothing back.
fn memory(name: &str, steps: usize) -> Option<Memory> {
    match name {
        "store" => Some(Memory::Store),
        "snapshots" => Some(Memory::square_root(steps)),
        "recompute" => Some(Memory::Recompute),
        _ => None,
    }
}

/// One gradient in this process.
fn measure(network: &str, plan: &str, steps: usize) -> Outcome<Measured> {
    let device = metaburn::backend::open(Backend::Flex)?.device;
    let (network, ways, side): (Arc<dyn Architecture>, _, _) = match network {
        "conv4" => (Arc::new(Conv4Config::new(28, 4, 64, 20)), 20, 28),
        _ => (Arc::new(MlpConfig::new(16 * 16, &[128], 2)), 2, 16),
    };
    let batch = || {
        let images = Tensor::random([1, ways, side * side], Distribution::Default, &device);
        Batch::new(&*network, images, &(0..ways).collect::<Vec<_>>(), ways)
    };
    let problem = FewShot::new(network.clone(), batch(), batch(), 0.005, BatchNorm::Transductive);
    let theta = initialise(&*network, 0, &device);
    let memory = memory(plan, steps);
    let draw = Draw::truncated(1, steps, memory.map_or(0, |_| steps));
    let began = Instant::now();
    let estimate = estimate_within(memory.unwrap_or(Memory::Store), &problem, &theta, &draw);
    std::hint::black_box(estimate.gradient.squared_norm().into_data());
    let seconds = began.elapsed().as_secs_f64();
    Ok(Measured {
        peak_bytes: peak_resident().ok_or("peak memory can be measured on Linux only")?,
        fast_bytes: theta.bytes(),
        iterate_bytes: estimate.iterate_bytes,
        recomputed: estimate.evaluations.recomputed,
        seconds,
    })
}
