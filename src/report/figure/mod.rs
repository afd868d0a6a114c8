//! Figures as SVG and PNG, drawn from one description.
//!
//! `elements` describes a figure, `layout` turns it into shapes, and `svg` and `png` render these.

mod axis;
mod digits;
mod drawing;
mod elements;
mod font;
mod layout;
mod palette;
mod png;
mod svg;

pub use digits::{short, significant};
pub use elements::{Axis, Figure, Level, Panel, Series};

use super::html;
use crate::support::atomic_file;
use crate::support::classified::Classified;
use drawing::Drawing;
use std::path::{Path, PathBuf};

/// Resolution of a PNG file, in dots per inch.
const DPI: f64 = 200.0;

/// An error in writing a figure.
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
    /// The figure as SVG.
    pub fn svg(&self) -> String {
        svg::render(&self.drawing())
    }

    /// Width and height of the PNG file, in pixels.
    pub fn pixels(&self) -> [u32; 2] {
        png::pixels(self.drawing().size, DPI)
    }

    /// Writes the figure to `path` atomically, in the format of its extension: SVG, PNG (200 dots per inch), or an
    /// HTML page that contains the SVG.
    ///
    /// # Errors
    /// Returns an error if the extension is unknown or the file cannot be written.
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
        atomic_file::write(path, &[&bytes]).map_err(|source| Error::Write { path: path.into(), source })
    }

    fn drawing(&self) -> Drawing {
        layout::arrange(self)
    }
}

impl Classified for Error {
    fn is_user_error(&self) -> bool {
        match self {
            Self::Extension { .. } => true,
            Self::Write { source, .. } => source.is_user_error(),
            Self::Encode { .. } => false,
        }
    }
}
