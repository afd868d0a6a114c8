//! `metaburn data …`: downloads datasets, previews their images and measures their difficulty.

use super::output::LARGEST_PICTURE;
use super::progress::Terminal;
use super::setup::{PartName, Setup};
use super::{CommandError, Outcome, output};
use clap::builder::PossibleValue;
use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use metaburn::config::Config;
use metaburn::data::{
    Channels, Dataset, Part, contact_sheet, fetch, nearest_neighbour, registry, write_episode,
};
use metaburn::run::quoted;
use metaburn::train::{self, Earlier, RunData};
use serde_json::json;
use std::cell::RefCell;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;

/// Download, preview and describe datasets
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

/// Download a dataset's official archives
///
/// An interrupted download is resumed when the command is run again.
///
/// Example: metaburn data fetch omniglot
#[derive(Args)]
pub struct Fetch {
    /// Dataset to download
    #[arg(value_enum)]
    dataset: DatasetName,
    /// URL of a folder that holds the archives, such as a mirror [default: the dataset's official URL]
    #[arg(long)]
    url: Option<String>,
    /// Folder to save them in [default: datasets/DATASET]
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

/// A dataset on the command line.
#[derive(Clone, Copy)]
struct DatasetName(&'static Dataset);

impl ValueEnum for DatasetName {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: LazyLock<Vec<DatasetName>> =
            LazyLock::new(|| registry::datasets().map(DatasetName).collect());
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.name).help(self.0.summary))
    }
}

impl Fetch {
    fn run(self) -> Outcome {
        let DatasetName(dataset) = self.dataset;
        let url = self.url.unwrap_or_else(|| dataset.url.into());
        let to = self.to.unwrap_or_else(|| dataset.folder.into());
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{msg} {bar:24} {bytes}/{total_bytes}, {eta} left") {
            bar.set_style(style);
        }
        let current = RefCell::new(String::new());
        let files = fetch::fetch(&url, dataset.files, &to, &|progress| {
            if *current.borrow() != progress.file {
                *current.borrow_mut() = progress.file.to_string();
                let resumed = match progress.resumed_from {
                    0 => String::new(),
                    from => format!(" (resumed at {from} bytes)"),
                };
                bar.suspend(|| output::say(format_args!("fetching {}{resumed}", progress.file)));
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

/// The data that `config` describes, split as in the run that it belongs to, if it is a run's.
fn load(setup: &Setup, config: &Config) -> Result<RunData, CommandError> {
    let split = setup.split()?;
    let earlier = split.as_ref().map(Earlier::Run);
    Ok(RunData::load(config, earlier, &mut Terminal::new())?)
}

/// Write a contact sheet: an image with one row of examples per class
///
/// Example: metaburn data preview --classes 24 --out glyphs.png
#[derive(Args)]
pub struct Preview {
    #[command(flatten)]
    setup: Setup,
    /// Split whose classes are shown
    #[arg(long, value_enum, default_value = "train")]
    split: PartName,
    /// Number of classes
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=2000))]
    classes: u32,
    /// Number of examples per class
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    drawings: u32,
    /// Magnification of each image
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=16))]
    scale: u32,
    /// File to write
    #[arg(long, short, value_name = "FILE.png", default_value = "preview.png")]
    out: PathBuf,
}

impl Preview {
    fn run(self) -> Outcome {
        let sampler = load(&self.setup, &self.setup.config(&[])?)?.sampler;
        let classes = sampler.split().part(self.split.into());
        let shown = &classes[..classes.len().min(self.classes as usize)];
        // The gaps between the images are negligible.
        let drawing = (sampler.set().size() as u64 * u64::from(self.scale)).pow(2);
        let pixels = drawing * shown.len() as u64 * u64::from(self.drawings);
        if pixels > LARGEST_PICTURE {
            let (pixels, limit) = (pixels / 1_000_000, LARGEST_PICTURE / 1_000_000);
            let reason = format!(
                "the contact sheet would have {pixels} million pixels, and the limit is {limit} million"
            );
            return Err(format!("{reason}; lower --classes, --drawings or --scale").into());
        }
        contact_sheet(sampler.set(), shown, self.drawings as usize, self.scale)
            .save(&self.out)
            .map_err(|error| format!("cannot write {}: {error}", self.out.display()))?;
        output::print(format!("{}: {} classes of {}", self.out.display(), shown.len(), classes.len()))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Write one episode as folders of images, to inspect or to use with `metaburn predict`
///
/// The support images are written to support/CLASS/1.png and so on, the query images to query/CLASS/1.png and so on. An episode
/// of training classes is one that a run trains on; others have the size of a test episode.
///
/// Example: metaburn data episode --out sample
#[derive(Args)]
pub struct Episode {
    #[command(flatten)]
    setup: Setup,
    /// Split whose classes the episode is drawn from
    #[arg(long, value_enum, default_value = "test")]
    split: PartName,
    /// Number of the episode
    #[arg(long, default_value_t = 0)]
    number: u64,
    /// Folder to write; it must not exist yet
    #[arg(long, short, value_name = "DIR", default_value = "episode")]
    out: PathBuf,
}

impl Episode {
    fn run(self) -> Outcome {
        let config = self.setup.config(&[])?;
        let sampler = load(&self.setup, &config)?.sampler;
        let part = Part::from(self.split);
        let shape = match part {
            Part::Train => train::training_shape(&config),
            Part::Validation | Part::Test => train::evaluation_shape(&config),
        };
        sampler.check(part, &shape)?;
        let selection = sampler.select(part, self.number, &shape);
        write_episode(sampler.set(), &selection, &shape, &self.out)?;
        let [support, query] = ["support", "query"].map(|part| quoted(&self.out.join(part)));
        output::print(format!(
            "wrote {support} and {query}; to classify the queries with a run that has task.ways={}:\n  metaburn predict \
             RUN_DIR --support {support} --query {query}",
            shape.ways
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Describe a dataset: classes, images, splits and the accuracy of a nearest-neighbour baseline
///
/// Example: metaburn data info configs/omniglot-5way-1shot.toml --data PATH
#[derive(Args)]
pub struct Info {
    #[command(flatten)]
    setup: Setup,
    /// Number of test episodes for the nearest-neighbour baseline
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    episodes: u32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Info {
    fn run(self) -> Outcome {
        let config = self.setup.config(&[])?;
        let data = load(&self.setup, &config)?;
        let (sampler, findings) = (&data.sampler, &data.findings);
        let (set, split) = (sampler.set(), sampler.split());
        let images = set.images();
        let shape = train::evaluation_shape(&config);
        let augmentation = sampler.augmentation();
        let (accuracy, ci95) = nearest_neighbour(sampler, Part::Test, &shape, u64::from(self.episodes))?;
        let [train, validation, test] =
            [&split.train, &split.validation, &split.test].map(|classes| classes.len());
        if self.json {
            output::print(json!({
                "source": config.source(), "classes": set.classes().len(), "images": images,
                "layout": findings.layout,
                "split": data.split.rule, "ink": findings.ink, "coloured": findings.coloured, "left_out": findings.left_out,
                "size": set.size(), "channels": set.channels(), "digest": set.digest(),
                "augmentation": augmentation, "train_classes": train, "validation_classes": validation, "test_classes": test,
                "nearest_neighbour_accuracy": accuracy, "ci95": ci95, "episodes": self.episodes,
                "ways": shape.ways, "shots": shape.shots,
            }))?;
            return Ok(ExitCode::SUCCESS);
        }
        let (source, classes, size) = (config.source(), set.classes().len(), set.size());
        let colour = if set.channels() == Channels::Colour { " in colour" } else { "" };
        let digest = set.digest();
        output::print(format!(
            "{source}: {classes} classes, {images} images of {size}×{size} pixels{colour}, digest {digest:.12}"
        ))?;
        if let Some(layout) = &findings.layout {
            output::print(format!("layout: {layout}"))?;
        }
        if set.channels() == Channels::Colour {
            let [mean, deviation] = [sampler.normalisation().mean(), sampler.normalisation().deviation()];
            output::print(format!("normalised with means {mean:?} and standard deviations {deviation:?}"))?;
        } else if findings.coloured > 0 {
            output::print(format!("images in colour: {}; only their brightness is used", findings.coloured))?;
        }
        if let Some(ink) = findings.ink {
            output::print(format!("ink: {}", ink.describe()))?;
        }
        findings.left_out.groups().iter().try_for_each(output::print)?;
        output::print(format!(
            "split: {}\ntrain: {train} classes\nvalidation: {validation} classes\ntest: {test} classes",
            data.split.rule
        ))?;
        output::print(format!("augmentation of training episodes: {augmentation}"))?;
        output::print(format!(
            "nearest neighbour of pixels, {}-way {}-shot: {accuracy:.1} % ± {ci95:.1} ({} test episodes)",
            shape.ways, shape.shots, self.episodes
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}
