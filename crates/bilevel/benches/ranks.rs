//! One mean over ranks of gradients as large as those of Conv4 with 64 filters: `cargo bench --features mpi --bench ranks`.
//!
//! Each rank has one task. Printed are the median and the fastest tenth of many times, in microseconds, of the mean by [`Share`]
//! among threads of one process and among processes, of the library's own sum (`MPI_Allreduce`, whose bits depend on the number
//! of ranks), and of a gather of a few numbers, of which a step has some. RANKS is the number of ranks (default 2), and LAUNCH
//! the launcher without it (default `mpirun --bind-to none`).

use bilevel::Params;
use bilevel::ranks::{MpiSession, Ranks, Share, Threads};

use burn::tensor::{Device, Distribution, Tensor};
use ferrompi::{Mpi, ReduceOp};
use std::error::Error;
use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

/// The allocator of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Timed calls.
const CALLS: usize = 2000;
/// Calls before those that are timed.
const WARM_UP: usize = 100;
/// The variable that tells a process that it is a rank, and which library it is to time.
const KIND: &str = "BENCH_OF_RANKS";

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::var(KIND).as_deref() {
        Ok("mean") => among_processes(),
        Ok(_) => library_sum(),
        Err(_) => all(),
    }
}

/// Times threads, and starts the processes that time themselves.
fn all() -> Result<(), Box<dyn Error>> {
    let ranks = std::env::var("RANKS").unwrap_or("2".into());
    println!(
        "| {} floats, {ranks} ranks | median, µs | fastest tenth, µs |\n|---|---|---|",
        floats(&gradient(0))
    );
    among_threads(ranks.parse()?);
    let launcher = std::env::var("LAUNCH").unwrap_or("mpirun --bind-to none".into());
    let words: Vec<&str> = launcher.split_whitespace().collect();
    for kind in ["mean", "sum"] {
        let mut command = Command::new(words.first().ok_or("LAUNCH names no launcher")?);
        command.args(&words[1..]).args(["-n", &ranks]).arg(std::env::current_exe()?).env(KIND, kind);
        if !command.status()?.success() {
            return Err(format!("`{launcher}` failed").into());
        }
    }
    Ok(())
}

/// The gradient of one task: Conv4 with 64 filters on grey images, with a head of five classes.
fn gradient(seed: u64) -> Params {
    let device = Device::flex();
    device.seed(seed);
    let random = |shape| Tensor::<3>::random(shape, Distribution::Normal(0.0, 1.0), &device);
    let block = |inputs: usize| [[1, 9 * inputs, 64], [1, 1, 64], [1, 1, 64]].map(random);
    let head = [[1, 64, 5], [1, 1, 5]].map(random);
    Params::new([1, 64, 64, 64].map(block).into_iter().flatten().chain(head).collect())
}

fn floats(params: &Params) -> usize {
    params.leaves().iter().map(|leaf| leaf.dims().iter().product::<usize>()).sum()
}

/// The times of `call`, in microseconds; before each, `wait` lets all ranks begin together.
fn times(wait: impl Fn(), mut call: impl FnMut()) -> Vec<f64> {
    let once = |_| {
        wait();
        let began = Instant::now();
        call();
        1e6 * began.elapsed().as_secs_f64()
    };
    (0..WARM_UP + CALLS).map(once).collect::<Vec<_>>().split_off(WARM_UP)
}

fn print(name: &str, mut times: Vec<f64>) {
    times.sort_by(f64::total_cmp);
    println!("| {name} | {:.0} | {:.0} |", times[CALLS / 2], times[CALLS / 10]);
}

/// The times of the mean, and of a gather of 64 bytes.
fn of_mean(ranks: Arc<dyn Ranks>) -> [Vec<f64>; 2] {
    let own = gradient(ranks.rank() as u64);
    let all: Vec<usize> = (0..ranks.count()).collect();
    let share = Share::new(ranks.clone(), ranks.count());
    let wait = || drop(ranks.gather(&[]));
    let mean = times(wait, || drop(black_box(share.mean(&all, Some(own.clone()), &own))));
    let gather = times(wait, || drop(black_box(ranks.gather(&[0; 64]))));
    [mean, gather]
}

fn print_mean(among: &str, [mean, gather]: [Vec<f64>; 2]) {
    print(&format!("mean among {among}"), mean);
    print(&format!("gather of 64 bytes among {among}"), gather);
}

fn among_threads(count: usize) {
    let measured = std::thread::scope(|scope| {
        let start = |rank| scope.spawn(move || of_mean(Arc::new(rank)));
        let threads: Vec<_> = Threads::new(count).into_iter().map(start).collect();
        threads.into_iter().map(|thread| thread.join()).next_back()
    });
    if let Some(Ok(measured)) = measured {
        print_mean("threads", measured);
    }
}

fn among_processes() -> Result<(), Box<dyn Error>> {
    let session = MpiSession::begin()?;
    let ranks = session.ranks();
    let measured = of_mean(ranks.clone());
    if ranks.rank() == 0 {
        print_mean("processes", measured);
    }
    Ok(())
}

fn library_sum() -> Result<(), Box<dyn Error>> {
    let mpi = Mpi::init()?;
    let world = mpi.world();
    let own = vec![1.0_f32; floats(&gradient(0))];
    let mut sum = own.clone();
    let measured = times(
        || world.barrier().expect("all ranks are there"),
        || world.allreduce(&own, &mut sum, ReduceOp::Sum).expect("all ranks are there"),
    );
    if world.rank() == 0 {
        print("MPI_Allreduce", measured);
    }
    Ok(())
}
