//! The parts of a figure: panels side by side, axes, series with bands, reference levels.

use super::palette;

/// A figure: panels side by side under one legend. Series with the same name look the same in all panels.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// From left to right.
    pub panels: Vec<Panel>,
}

/// A pair of axes with series and reference levels.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// Shown above the axes; may be empty.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// In drawing order, the first at the bottom.
    pub series: Vec<Series>,
    /// Reference levels.
    pub levels: Vec<Level>,
}

/// An axis. Its range is that of the data unless it is set.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    pub(super) label: String,
    pub(super) logarithmic: bool,
    pub(super) whole: bool,
    pub(super) range: Option<[f64; 2]>,
}

/// A curve, or unconnected points.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub(super) name: String,
    /// Values that an axis cannot show leave a gap in the curve.
    pub(super) points: Vec<[f64; 2]>,
    /// Low and high at each point; empty if there is no band.
    pub(super) band: Vec<[f64; 2]>,
    pub(super) connected: bool,
    pub(super) marked: bool,
    pub(super) look: Option<usize>,
}

/// A horizontal reference line.
#[derive(Clone, Debug, PartialEq)]
pub struct Level {
    /// Its name in the legend.
    pub name: String,
    /// Its value on the vertical axis.
    pub y: f64,
}

impl Panel {
    /// Empty axes.
    pub fn new(x: Axis, y: Axis) -> Self {
        Self { title: String::new(), x, y, series: Vec::new(), levels: Vec::new() }
    }

    /// Sets the title.
    pub fn titled(self, title: impl Into<String>) -> Self {
        Self { title: title.into(), ..self }
    }

    /// Adds a series.
    pub fn with(mut self, series: Series) -> Self {
        self.series.push(series);
        self
    }

    /// Adds a reference level at `y`.
    pub fn level(mut self, name: impl Into<String>, y: f64) -> Self {
        self.levels.push(Level { name: name.into(), y });
        self
    }
}

impl Axis {
    /// The axis label.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// A linear axis.
    pub fn linear(label: impl Into<String>) -> Self {
        Self { label: label.into(), logarithmic: false, whole: false, range: None }
    }

    /// A logarithmic axis; values ≤ 0 are not shown.
    pub fn logarithmic(label: impl Into<String>) -> Self {
        Self { logarithmic: true, ..Self::linear(label) }
    }

    /// A linear axis with ticks at whole numbers only.
    pub fn whole(label: impl Into<String>) -> Self {
        Self { whole: true, ..Self::linear(label) }
    }

    /// Sets the range, whatever the data.
    pub fn range(self, low: f64, high: f64) -> Self {
        Self { range: Some([low, high]), ..self }
    }
}

impl Series {
    /// A curve through `points`, in the order of x.
    pub fn line(name: impl Into<String>, points: Vec<[f64; 2]>) -> Self {
        Self { name: name.into(), points, band: Vec::new(), connected: true, marked: true, look: None }
    }

    /// A curve without markers, for formulas.
    pub fn curve(name: impl Into<String>, points: Vec<[f64; 2]>) -> Self {
        Self { marked: false, ..Self::line(name, points) }
    }

    /// Unconnected points.
    pub fn marks(name: impl Into<String>, points: Vec<[f64; 2]>) -> Self {
        Self { connected: false, ..Self::line(name, points) }
    }

    /// Adds uncertainty: low and high at each point, drawn as a band for a curve and as bars for points.
    pub fn band(self, band: Vec<[f64; 2]>) -> Self {
        Self { band, ..self }
    }

    /// Draws the series in solid black.
    pub fn plain(self) -> Self {
        self.look(palette::PLAIN)
    }

    /// Uses look `number` (0, 1, …) of the palette instead of the next in order.
    pub fn look(self, number: usize) -> Self {
        Self { look: Some(number), ..self }
    }
}
