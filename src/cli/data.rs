//! `metaburn data …`: fetch images, look at them, measure how hard they are.

use super::progress::Terminal;
use super::setup::{PartName, Setup};
use super::{Outcome, output};
use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use metaburn::data::{Part, contact_sheet, fetch, nearest_neighbour, write_episode};
use metaburn::trainer::{self, quoted};
use serde_json::json;
use std::cell::RefCell;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

/// The most pixels on a contact sheet.
const LARGEST_SHEET: u64 = 400_000_000;

/// Fetch images, look at them, measure how hard they are
#[derive(Subcommand)]
pub enum Data {
    Fetch(Fetch),
    Preview(Preview),
    Episode(Episode),
    Info(Info),
}

impl Data {
    /// Runs the command.
    pub fn run(self) -> Outcome {
        match self {
            Self::Fetch(command) => command.run(),
            Self::Preview(command) => command.run(),
            Self::Episode(command) => command.run(),
            Self::Info(command) => command.run(),
        }
    }
}

/// Download a dataset's official archives; run it again to resume
///
/// Example: metaburn data fetch omniglot
#[derive(Args)]
pub struct Fetch {
    /// Which dataset
    #[arg(value_enum)]
    dataset: Dataset,
    /// Address of a mirror's folder that holds the archives [default: the dataset's own]
    #[arg(long)]
    url: Option<String>,
    /// Folder to put them in [default: datasets/DATASET]
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Dataset {
    Omniglot,
    Mnist,
}

impl Dataset {
    /// Where its archives are, which they are, and the folder that they go to.
    fn official(self) -> (&'static str, &'static [fetch::Remote], &'static str) {
        match self {
            Self::Omniglot => (fetch::OMNIGLOT_URL, &fetch::OMNIGLOT, "datasets/omniglot"),
            Self::Mnist => (fetch::MNIST_URL, &fetch::MNIST, "datasets/mnist"),
        }
    }
}

impl Fetch {
    fn run(self) -> Outcome {
        let (url, archives, to) = self.dataset.official();
        let (url, to) = (self.url.unwrap_or_else(|| url.into()), self.to.unwrap_or_else(|| to.into()));
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{msg} {bar:24} {bytes}/{total_bytes}, {eta} left") {
            bar.set_style(style);
        }
        let current = RefCell::new(String::new());
        let files = fetch::fetch(&url, archives, &to, &|progress| {
            if *current.borrow() != progress.file {
                *current.borrow_mut() = progress.file.to_string();
                let resumed = match progress.resumed_from {
                    0 => String::new(),
                    from => format!(" (resumed at {from} bytes)"),
                };
                bar.suspend(|| eprintln!("fetching {}{resumed}", progress.file));
            }
            bar.set_message(progress.file.to_string());
            if let Some(total) = progress.total {
                bar.set_length(total);
            }
            bar.set_position(progress.done);
        })?;
        bar.finish_and_clear();
        files.iter().try_for_each(|file| output::print(file.display()))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Write a contact sheet: a row of drawings for each of some classes
///
/// Example: metaburn data preview --classes 24 --out glyphs.png
#[derive(Args)]
pub struct Preview {
    #[command(flatten)]
    setup: Setup,
    /// Whose classes to show
    #[arg(long, value_enum, default_value = "train")]
    split: PartName,
    /// How many classes
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=2000))]
    classes: u32,
    /// How many drawings of each
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    drawings: u32,
    /// Pixels on the sheet for one of the image
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=16))]
    scale: u32,
    /// The file to write
    #[arg(long, short, value_name = "FILE.png", default_value = "preview.png")]
    out: PathBuf,
}

impl Preview {
    fn run(self) -> Outcome {
        let sampler = trainer::sampler(&self.setup.config(&[])?, &mut Terminal::new())?;
        let classes = sampler.split().part(self.split.into());
        let shown = &classes[..classes.len().min(self.classes as usize)];
        // A sheet's pixels are bytes in memory; the gaps between drawings are small beside them.
        let drawing = (sampler.set().size() as u64 * u64::from(self.scale)).pow(2);
        let pixels = drawing * shown.len() as u64 * u64::from(self.drawings);
        if pixels > LARGEST_SHEET {
            let (asked, most) = (pixels / 1_000_000, LARGEST_SHEET / 1_000_000);
            let reason = format!("a sheet of {asked} million pixels is too large, at most {most} million");
            return Err(format!("{reason}; lower --classes, --drawings or --scale").into());
        }
        contact_sheet(sampler.set(), shown, self.drawings as usize, self.scale)
            .save(&self.out)
            .map_err(|error| format!("cannot write {}: {error}", self.out.display()))?;
        output::print(format!("{}: {} classes of {}", self.out.display(), shown.len(), classes.len()))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Write an episode as folders of images, to look at or to try `metaburn predict` with
///
/// In it are support/CLASS/1.png … to adapt to, and query/CLASS/1.png … to be named.
///
/// Example: metaburn data episode --out sample
#[derive(Args)]
pub struct Episode {
    #[command(flatten)]
    setup: Setup,
    /// Whose classes it is made of
    #[arg(long, value_enum, default_value = "test")]
    split: PartName,
    /// Which episode
    #[arg(long, default_value_t = 0)]
    number: u64,
    /// The folder to write, which must not exist
    #[arg(long, short, value_name = "DIR", default_value = "episode")]
    out: PathBuf,
}

impl Episode {
    fn run(self) -> Outcome {
        let config = self.setup.config(&[])?;
        let sampler = trainer::sampler(&config, &mut Terminal::new())?;
        let (part, shape) = (self.split.into(), trainer::evaluation_shape(&config));
        sampler.check(part, &shape)?;
        let selection = sampler.select(part, self.number, &shape);
        write_episode(sampler.set(), &selection, &shape, &self.out)?;
        let [support, query] = ["support", "query"].map(|part| quoted(&self.out.join(part)));
        output::print(format!(
            "wrote {support} and {query}; a run with task.ways={} names them:\n  metaburn predict RUN_DIR --support \
             {support} --query {query}",
            shape.ways
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Say what the data holds, and how well the nearest neighbour of pixels does on it
///
/// Example: metaburn data info configs/omniglot-5way-1shot.toml --data PATH
#[derive(Args)]
pub struct Info {
    #[command(flatten)]
    setup: Setup,
    /// Test episodes for the nearest neighbour
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    episodes: u32,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
}

impl Info {
    fn run(self) -> Outcome {
        let config = self.setup.config(&[])?;
        let sampler = trainer::sampler(&config, &mut Terminal::new())?;
        let (set, split) = (sampler.set(), sampler.split());
        let images: usize = (0..set.classes().len()).map(|class| set.examples(class)).sum();
        let shape = trainer::evaluation_shape(&config);
        let (accuracy, ci95) = nearest_neighbour(&sampler, Part::Test, &shape, u64::from(self.episodes))?;
        let [train, validation, test] =
            [&split.train, &split.validation, &split.test].map(|classes| classes.len());
        if self.json {
            output::print(json!({
                "source": config.data.source, "classes": set.classes().len(), "images": images,
                "size": set.size(), "digest": set.digest(),
                "train_classes": train, "validation_classes": validation, "test_classes": test,
                "nearest_neighbour_accuracy": accuracy, "ci95": ci95, "episodes": self.episodes,
                "ways": shape.ways, "shots": shape.shots,
            }))?;
            return Ok(ExitCode::SUCCESS);
        }
        let (source, classes, size) = (config.data.source, set.classes().len(), set.size());
        let digest = set.digest();
        output::print(format!(
            "{source}: {classes} classes, {images} images of {size}×{size} pixels, digest {digest:.12}"
        ))?;
        output::print(format!(
            "train: {train} classes\nvalidation: {validation} classes\ntest: {test} classes"
        ))?;
        output::print(format!(
            "nearest neighbour of pixels, {}-way {}-shot: {accuracy:.1} % ± {ci95:.1} ({} test episodes)",
            shape.ways, shape.shots, self.episodes
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}
