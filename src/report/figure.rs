//! What a figure shows, in words of its own: panels side by side, axes, series with bands, reference levels.

use super::drawing::Drawing;
use super::{html, layout, palette, png, svg};
use crate::whole;
use std::path::{Path, PathBuf};

/// Dots an inch of a PNG file.
const DPI: f64 = 200.0;

/// A figure: panels side by side under one legend. Series of one name look the same in all panels.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// From left to right.
    pub panels: Vec<Panel>,
}

/// A pair of axes and what is drawn on them.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// Above it; may be empty.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The first at the bottom.
    pub series: Vec<Series>,
    /// Reference levels.
    pub levels: Vec<Level>,
}

/// An axis. Its range is that of the data, unless it is set.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    pub(super) label: String,
    pub(super) logarithmic: bool,
    pub(super) whole: bool,
    pub(super) range: Option<[f64; 2]>,
}

/// A curve, or points.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub(super) name: String,
    /// Values that an axis cannot show leave a gap.
    pub(super) points: Vec<[f64; 2]>,
    /// Low and high at each point; empty without.
    pub(super) band: Vec<[f64; 2]>,
    pub(super) connected: bool,
    pub(super) marked: bool,
    pub(super) look: Option<usize>,
}

/// A horizontal line to hold curves against.
#[derive(Clone, Debug, PartialEq)]
pub struct Level {
    /// What it is, as the legend has it.
    pub name: String,
    /// Where.
    pub y: f64,
}

/// Why a figure was not written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("{path} ends in neither .svg nor .png nor .html; figures are written as one of these")]
    Extension { path: PathBuf },
    #[error("cannot write {path}: {source}")]
    Write { path: PathBuf, source: std::io::Error },
    #[error("cannot encode {path}: {source}")]
    Encode { path: PathBuf, source: image::ImageError },
}

impl Figure {
    /// As an SVG file.
    pub fn svg(&self) -> String {
        svg::render(&self.drawing())
    }

    /// Width and height of its PNG file, in pixels.
    pub fn pixels(&self) -> [u32; 2] {
        png::pixels(self.drawing().size, DPI)
    }

    /// Writes it to `path` whole or not at all: by its extension as SVG, as PNG (200 dots an inch), or as a page of
    /// HTML with the SVG in it.
    ///
    /// # Errors
    /// If the extension is another, or the file cannot be written.
    ///
    /// # Example
    /// ```
    /// use metaburn::report::{Axis, Figure, Panel, Series};
    ///
    /// let points = (1..=50).map(|step| [f64::from(step), 1.6 / f64::from(step)]).collect();
    /// let panel = Panel::new(Axis::linear("outer step"), Axis::logarithmic("loss")).with(Series::line("exact", points));
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("loss.svg");
    /// Figure { panels: vec![panel] }.write(&path)?;
    /// # assert!(std::fs::read_to_string(&path)?.contains("outer step"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let extension =
            path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
        let bytes = match extension.as_deref() {
            Some("svg") => self.svg().into_bytes(),
            Some("png") => png::render(&self.drawing(), DPI)
                .map_err(|source| Error::Encode { path: path.into(), source })?,
            Some("html") => {
                let title = path.file_stem().unwrap_or_default().to_string_lossy();
                html::document(&title, &format!("<main>\n<figure>{}</figure>\n</main>\n", self.svg()))
                    .into_bytes()
            }
            _ => return Err(Error::Extension { path: path.into() }),
        };
        whole::write(path, &[&bytes]).map_err(|source| Error::Write { path: path.into(), source })
    }

    fn drawing(&self) -> Drawing {
        layout::arrange(self)
    }
}

impl Panel {
    /// Empty axes.
    pub fn new(x: Axis, y: Axis) -> Self {
        Self { title: String::new(), x, y, series: Vec::new(), levels: Vec::new() }
    }

    /// With `title` above it.
    pub fn titled(self, title: impl Into<String>) -> Self {
        Self { title: title.into(), ..self }
    }

    /// With one more series.
    pub fn with(mut self, series: Series) -> Self {
        self.series.push(series);
        self
    }

    /// With one more reference level at `y`.
    pub fn level(mut self, name: impl Into<String>, y: f64) -> Self {
        self.levels.push(Level { name: name.into(), y });
        self
    }
}

impl Axis {
    /// What is written along it.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// A linear axis.
    pub fn linear(label: impl Into<String>) -> Self {
        Self { label: label.into(), logarithmic: false, whole: false, range: None }
    }

    /// A logarithmic axis; what is not positive is not shown on it.
    pub fn logarithmic(label: impl Into<String>) -> Self {
        Self { logarithmic: true, ..Self::linear(label) }
    }

    /// A linear axis of whole numbers.
    pub fn whole(label: impl Into<String>) -> Self {
        Self { whole: true, ..Self::linear(label) }
    }

    /// From `low` to `high`, whatever the data.
    pub fn range(self, low: f64, high: f64) -> Self {
        Self { range: Some([low, high]), ..self }
    }
}

impl Series {
    /// A curve through `points`, in the order of x.
    pub fn line(name: impl Into<String>, points: Vec<[f64; 2]>) -> Self {
        Self { name: name.into(), points, band: Vec::new(), connected: true, marked: true, look: None }
    }

    /// A curve without markers, as of a formula.
    pub fn curve(name: impl Into<String>, points: Vec<[f64; 2]>) -> Self {
        Self { marked: false, ..Self::line(name, points) }
    }

    /// Points that are not connected.
    pub fn marks(name: impl Into<String>, points: Vec<[f64; 2]>) -> Self {
        Self { connected: false, ..Self::line(name, points) }
    }

    /// With uncertainty: low and high at each point. A curve has a band, points have bars.
    pub fn band(self, band: Vec<[f64; 2]>) -> Self {
        Self { band, ..self }
    }

    /// In black, and solid.
    pub fn plain(self) -> Self {
        self.look(palette::PLAIN)
    }

    /// In the look numbered `number` (0, 1, …) of the palette; without, in its own order.
    pub fn look(self, number: usize) -> Self {
        Self { look: Some(number), ..self }
    }
}
