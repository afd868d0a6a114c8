use burn::tensor::*;
use metaburn::{config::BatchNorm, hypergradient::*, model::*, problem::*};
use std::sync::Arc;
fn main() {
    let device = Device::flex();
    let (ways, t, q, filters) = (5, 16, 5, 64);
    let a: Vec<String> = std::env::args().collect();
    let (r, k, threads, chunk, n): (usize, usize, usize, usize, usize) = (
        a[1].parse().unwrap(),
        a[2].parse().unwrap(),
        a[3].parse().unwrap(),
        a[4].parse().unwrap(),
        a[5].parse().unwrap(),
    );
    let arch: Arc<dyn Architecture> = Arc::new(Conv4Config::new(28, 4, filters, ways));
    let theta = initialise(&*arch, 0, &device);
    let batch = |n: usize| {
        let x = Tensor::<3>::random([t, n * ways, 784], Distribution::Default, &device);
        let labels: Vec<usize> = (0..t * n * ways).map(|i| (i % (n * ways)) / n).collect();
        Batch::new(&*arch, x, &labels, ways)
    };
    let p = FewShot::new(arch.clone(), batch(1), batch(q), 0.4, BatchNorm::Transductive);
    let draw = Draw::truncated(t, r, k);
    let workers = Workers { threads, chunk };
    let mut best = f64::MAX;
    for _ in 0..n {
        let a = std::time::Instant::now();
        let e = workers.estimate(&p, &theta, &draw);
        std::hint::black_box(e.gradient.mean().squared_norm().into_data());
        best = best.min(a.elapsed().as_secs_f64());
    }
    println!("r{r} K{k} threads {threads} chunk {chunk} best {:.0} ms", best * 1e3);
}
