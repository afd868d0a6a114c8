//! A network of your own, put together from layers, and trained to learn new characters from one example each.
//!
//! Prints the query loss after every fiftieth outer step, and the accuracy on characters never seen before. No download
//! is needed: `cargo run --release --example own_network`

use metaburn::bilevel::{device, kernel::Window};
use metaburn::config::Config;
use metaburn::data::Part;
use metaburn::model::{NetworkBuilder, Sequential};
use metaburn::train::{self, EpisodeLoader, Evaluation, Learner, Watcher};
use std::sync::Arc;

struct Silent;
impl Watcher for Silent {}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::load(None, &["outer.steps=200".into(), "inner.rate=0.1".into()])?;

    let window = Window { size: 3, stride: 1, padding: 1 };
    let block = |x: NetworkBuilder, filters| x.convolution(filters, window).batch_norm().relu();
    let images = Sequential::on_images(config.images()?.image_size);
    let network = block(block(images, 16).max_pool(2), 32)
        .max_pool(2)
        .residual(|x| block(x, 32).convolution(32, window).batch_norm(), |x| x)
        .relu()
        .mean_pool(2)
        .head(config.task.ways)?;

    let mut learner = Learner::new(&config, device::open(config.backend)?);
    learner.architecture = Arc::new(network);
    let loader = EpisodeLoader::new(train::sampler(&config, &mut Silent)?, &learner.opened);
    let shape = train::training_shape(&config);
    let mut batches = loader.batches(shape, config.outer.meta_batch, 0);
    let mut outer = learner.outer_loop(&config, learner.initialise(config.seed));
    while outer.progress() < 1.0 {
        let loss = outer.step(&learner.classify(batches.take(), &shape))?.loss;
        if outer.steps().is_multiple_of(50) {
            println!("step {:>3}: query loss {loss:.3}", outer.steps());
        }
    }
    let test = Evaluation::new(&config, Part::Test, 100);
    let theta = outer.theta().clone();
    let [accuracy] = learner.evaluate(&[theta], &loader, &test, [config.model.batch_norm], |_| ());
    println!("accuracy on new characters: {:.1} ± {:.1} %", accuracy.mean, accuracy.ci95);
    Ok(())
}
