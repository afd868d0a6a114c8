//! Peak memory of one exact gradient, by memory plan and number of inner steps, on the CPU's flex
//! backend: `cargo bench --bench memory`, with `-- conv4` or `-- mlp` for one table only.
//!
//! - conv4: one task of 20-way 1-shot, 28 × 28, Conv4-64. `-- --long` adds `recompute` at r = 300.
//! - mlp: one task of 2-way 1-shot, 16 × 16, one hidden layer; its steps are short enough for `recompute` at r = 1000.
//!
//! Every row is measured in its own process; the peak is its maximum resident set (VmHWM, Linux only). The allocator
//! is glibc's, set to map every large block separately: freed memory is returned at once, so that the peak is that of
//! live tensors. The program's mimalloc is faster because it reuses freed blocks, which would distort this
//! measurement. MAML's φ_0 is a view of θ, so m stored iterates are m − 1 copies of φ.

use bilevel::device::Backend;
use bilevel::hypergradient::{Draw, Memory, estimate};
use burn::tensor::{Distribution, Tensor};
use metaburn::bench::peak_resident;
use metaburn::model::{Architecture, Conv4, Mlp, initialise};
use metaburn::task::BatchNorm;
use metaburn::task::{Batch, FewShot};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::io::{IsTerminal, Read};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One row of a table, measured in its own process.
#[derive(Clone, Copy)]
struct Row {
    network: &'static str,
    plan: &'static str,
    steps: usize,
}

/// The measurement of one row, as printed by its process.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Measured {
    peak_bytes: u64,
    /// Bytes of one φ.
    fast_bytes: u64,
    iterate_bytes: u64,
    recomputed: u64,
    seconds: f64,
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Blocks of at least this many bytes are mapped separately; only the vectors of a network are smaller.
const MMAP_THRESHOLD: &str = "65536";

/// Memory plans, in order of memory use, and their numbers of inner steps r.
type Plans = [(&'static str, &'static [usize])];

const CONV4: &Plans = &[("recompute", &[10, 100]), ("snapshots", &[10, 100, 1000]), ("store", &[10, 100])];
const CONV4_LONG: &Plans =
    &[("recompute", &[10, 100, 300]), ("snapshots", &[10, 100, 1000]), ("store", &[10, 100])];
const MLP: &Plans =
    &[("recompute", &[10, 100, 1000]), ("snapshots", &[10, 100, 1000]), ("store", &[10, 100, 1000])];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [marker, network, plan, steps] = &*arguments
        && marker == "measure"
    {
        println!("{}", serde_json::to_string(&measure(network, plan, steps.parse()?)?)?);
        return Ok(());
    }
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    if !has("mlp") {
        table("conv4", if has("--long") { CONV4_LONG } else { CONV4 })?;
        println!("left out: store at r = 1000, a thousand copies of φ;");
        println!("          recompute at r = 1000, 499500 inner steps recomputed, hours");
        if !has("--long") {
            println!("          recompute at r = 300, 44850 inner steps recomputed: -- --long");
        }
    }
    if !has("conv4") {
        table("mlp", MLP)?;
    }
    Ok(())
}

/// Measures `network` and prints a table. The column "+ φ" is the peak above that of the first row with a plan, in
/// copies of φ.
fn table(network: &'static str, plans: &Plans) -> Result<()> {
    println!("\n{network}");
    print_row(
        ["plan", "r", "φ stored", "MiB", "peak MiB", "+ first-order", "+ φ", "recomputed", "seconds"]
            .map(Into::into),
    );
    let mut seconds_per_step = 0.0;
    let first_order = Row { network, plan: "first-order", steps: 10 }.run(&mut seconds_per_step)?;
    let mut least = None;
    let rows = plans.iter().flat_map(|(plan, all)| all.iter().map(move |steps| (*plan, *steps)));
    for (plan, steps) in [("first-order", 10)].into_iter().chain(rows) {
        let found = match plan {
            "first-order" => first_order,
            _ => Row { network, plan, steps }.run(&mut seconds_per_step)?,
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
    /// Measures the row in a new process. `seconds_per_step`, known from the previous row, gives the time left; it is
    /// updated.
    fn run(self, seconds_per_step: &mut f64) -> Result<Measured> {
        let Self { network, plan, steps } = self;
        let recomputed = memory(plan, steps).map_or(0, |memory| memory.recomputed(steps));
        // A Hessian-vector product takes about as long as three gradients.
        let work = (recomputed + 4 * steps as u64) as f64;
        let start = Instant::now();
        let mut child = Command::new(std::env::current_exe()?)
            .args(["measure", network, plan, &steps.to_string()])
            .env("MALLOC_MMAP_THRESHOLD_", MMAP_THRESHOLD)
            .stdout(Stdio::piped())
            .spawn()?;
        while child.try_wait()?.is_none() {
            std::thread::sleep(Duration::from_millis(100));
            let left = *seconds_per_step * work - start.elapsed().as_secs_f64();
            if std::io::stderr().is_terminal() && left > 1.0 {
                eprint!("\r{network}, {plan}, r = {steps}: about {left:.0} s left \x1b[K");
            }
        }
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
        let mut output = String::new();
        child.stdout.take().ok_or("the process has no output")?.read_to_string(&mut output)?;
        let measured: Measured = serde_json::from_str(&output)
            .map_err(|_| format!("{network}, {plan}, r = {steps} could not be measured"))?;
        *seconds_per_step = measured.seconds / work;
        Ok(measured)
    }
}

/// The plan called `name`; `None` for first-order, which has no backward walk.
fn memory(name: &str, steps: usize) -> Option<Memory> {
    match name {
        "store" => Some(Memory::Store),
        "snapshots" => Some(Memory::square_root(steps)),
        "recompute" => Some(Memory::Recompute),
        _ => None,
    }
}

/// Measures one gradient in this process.
fn measure(network: &str, plan: &str, steps: usize) -> Result<Measured> {
    let device = bilevel::device::open(Backend::Flex)?.device;
    let (network, ways, side): (Arc<dyn Architecture>, _, _) = match network {
        "conv4" => (Arc::new(Conv4::new(64, 4).build(28, 20).expect("it fits")), 20, 28),
        _ => (Arc::new(Mlp::new(&[128]).build(16 * 16, 2).expect("it fits")), 2, 16),
    };
    let batch = || {
        let images = Tensor::random([1, ways, side * side], Distribution::Default, &device);
        Batch::new(&*network, images, &(0..ways).collect::<Vec<_>>(), ways)
    };
    let problem = FewShot::new(network.clone(), batch(), batch(), 0.005, BatchNorm::Transductive);
    let theta = initialise(&*network, 0, &device);
    let memory = memory(plan, steps);
    let draw = Draw::truncated(1, steps, memory.map_or(0, |_| steps));
    let start = Instant::now();
    let estimate = estimate(&problem, &theta, &draw, memory.unwrap_or(Memory::Store));
    std::hint::black_box(estimate.gradient.squared_norm().into_data());
    let seconds = start.elapsed().as_secs_f64();
    Ok(Measured {
        peak_bytes: peak_resident().ok_or("peak memory can be measured on Linux only")?,
        fast_bytes: theta.bytes(),
        iterate_bytes: estimate.iterate_bytes,
        recomputed: estimate.evaluations.recomputed,
        seconds,
    })
}
