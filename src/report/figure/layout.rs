//! Layout: turns a figure into shapes. Lengths are in points; text sizes, 8 and 9 points, suit print.

use super::axis::{Scale, Ticks};
use super::drawing::{Anchor, Drawing, Layer, Rectangle, Segment, Shape, line, polygon};
use super::elements::{Axis, Figure, Panel, Series};
use super::font;
use super::palette::{self, Colour, Look, Marker};

/// Text size of tick labels and legend, and of axis labels and titles.
const SMALL: f64 = 8.0;
const LARGE: f64 = 9.0;
/// Margin, and distance between elements.
const GAP: f64 = 6.0;
const TICK: f64 = 3.0;
const LINE_HEIGHT: f64 = 13.0;
/// Length of a line sample in the legend.
const SAMPLE: f64 = 24.0;
const CURVE: f64 = 1.5;
const HAIR: f64 = 0.6;
const MARK: f64 = 2.6;
const BAND_OPACITY: f64 = 0.2;
/// With more bands than this in a panel, each is paler.
const FEW_BANDS: f64 = 3.0;
/// Smallest distance between markers on a curve.
const BETWEEN_MARKERS: f64 = 26.0;
/// Dash pattern of reference levels.
const LEVEL_DASH: &[f64] = &[2.5, 2.0];

/// Width and height of each of `count` panels, without the legend.
fn panel_size(count: usize) -> [f64; 2] {
    match count {
        0 | 1 => [432.0, 272.0],
        2 => [270.0, 216.0],
        _ => [230.0, 200.0],
    }
}

/// Lays out the figure.
pub fn arrange(figure: &Figure) -> Drawing {
    let count = figure.panels.len();
    let [width, height] = panel_size(count);
    let all = width * count.max(1) as f64;
    let legend = Legend::of(figure);
    let (legend_layer, top) = legend.layer(all);
    let mut layers = vec![legend_layer];
    for (at, panel) in figure.panels.iter().enumerate() {
        layers.extend(PanelLayout::new(panel, [at as f64 * width, top, width, height]).layers(&legend));
    }
    Drawing { size: [all, top + height], layers }
}

/// The legend's entries.
struct Legend<'a>(Vec<Key<'a>>);

/// A legend entry.
struct Key<'a> {
    name: &'a str,
    /// `None` for a reference level.
    look: Option<Look>,
    connected: bool,
    marked: bool,
}

impl<'a> Legend<'a> {
    fn of(figure: &'a Figure) -> Self {
        let mut legend = Self(Vec::new());
        for series in figure.panels.iter().flat_map(|panel| &panel.series) {
            let own = palette::look(series.look.unwrap_or(legend.0.len()));
            let key = legend.entry(&series.name, Some(own));
            key.connected |= series.connected;
            key.marked |= series.marked;
        }
        for level in figure.panels.iter().flat_map(|panel| &panel.levels) {
            legend.entry(&level.name, None);
        }
        legend
    }

    /// The entry called `name`, added with `look` if there is none.
    fn entry(&mut self, name: &'a str, look: Option<Look>) -> &mut Key<'a> {
        let at = self.0.iter().position(|key| key.name == name).unwrap_or(self.0.len());
        if at == self.0.len() {
            self.0.push(Key { name, look, connected: false, marked: false });
        }
        &mut self.0[at]
    }

    fn look(&self, name: &str) -> Look {
        let known = self.0.iter().find(|key| key.name == name);
        known.and_then(|key| key.look).unwrap_or(palette::look(0))
    }

    /// The legend in rows of at most `width`, and the y coordinate of its lower edge. It stands above the panels,
    /// so it never hides data.
    fn layer(&self, width: f64) -> (Layer, f64) {
        let (mut shapes, mut x, mut row) = (Vec::new(), GAP, 0);
        for key in self.0.iter().filter(|key| !key.name.is_empty()) {
            let needed = SAMPLE + GAP + SMALL * font::width(key.name);
            if x > GAP && x + needed > width - GAP {
                (x, row) = (GAP, row + 1);
            }
            let y = GAP + (f64::from(row) + 0.5) * LINE_HEIGHT;
            shapes.extend(key.sample(x, y));
            let at = [x + SAMPLE + GAP, y + 0.36 * SMALL];
            shapes.push(text(key.name, at, SMALL, Anchor::Start, palette::BLACK));
            x += needed + 2.5 * GAP;
        }
        let bottom = if shapes.is_empty() { 0.0 } else { GAP + f64::from(row + 1) * LINE_HEIGHT };
        (layer("legend", shapes), bottom)
    }
}

impl Key<'_> {
    /// A sample of the curve, marker or level, from (`x`, `y`) to the right.
    fn sample(&self, x: f64, y: f64) -> Vec<Shape> {
        let path = line(&[[x, y], [x + SAMPLE, y]]);
        let Some(look) = &self.look else {
            return vec![stroke(path, palette::GREY, 1.0, LEVEL_DASH)];
        };
        let curve = self.connected.then(|| stroke(path, look.colour, CURVE, look.dash));
        let marker = self.marked.then(|| mark([x + SAMPLE / 2.0, y], look));
        curve.into_iter().chain(marker.into_iter().flatten()).collect()
    }
}

/// The shapes of a series.
#[derive(Default)]
struct DrawnSeries {
    bands: Vec<Shape>,
    /// Curves, or the error bars of points that are not connected.
    lines: Vec<Shape>,
    markers: Vec<Shape>,
}

/// A panel with its scales and its plotting area.
struct PanelLayout<'a> {
    panel: &'a Panel,
    x: Scale,
    y: Scale,
    x_ticks: Ticks,
    y_ticks: Ticks,
    plot: Rectangle,
}

impl<'a> PanelLayout<'a> {
    fn new(panel: &'a Panel, [left, top, width, height]: Rectangle) -> Self {
        let (x, y) = scales(panel);
        let head = if panel.title.is_empty() { 0.0 } else { LINE_HEIGHT };
        let foot = TICK + 2.0 * LINE_HEIGHT + GAP;
        let plot_height = height - head - foot - GAP;
        let y_ticks = y.ticks((plot_height / 27.0) as usize, panel.y.whole);
        let beside = TICK + LINE_HEIGHT + 1.5 * GAP + SMALL * widest(&y_ticks);
        let plot_width = width - beside - 2.0 * GAP;
        let x_ticks = fitting(&x, plot_width, panel.x.whole);
        let plot = [left + beside, top + head + GAP, plot_width, plot_height];
        Self { panel, x, y, x_ticks, y_ticks, plot }
    }

    fn across(&self, x: f64) -> f64 {
        self.plot[0] + self.plot[2] * self.x.place(x)
    }

    fn down(&self, y: f64) -> f64 {
        self.plot[1] + self.plot[3] * (1.0 - self.y.place(y))
    }

    fn at(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        [self.across(x), self.down(y)]
    }

    fn layers(&self, legend: &Legend) -> Vec<Layer> {
        let mut layers = vec![layer("grid", self.grid())];
        for level in &self.panel.levels {
            let y = self.down(level.y);
            let [left, _, width, _] = self.plot;
            let path = line(&[[left, y], [left + width, y]]);
            layers.push(Layer {
                kind: "level",
                name: level.name.clone(),
                clip: Some(self.plot),
                shapes: vec![stroke(path, palette::GREY, 1.0, LEVEL_DASH)],
            });
        }
        let drawn: Vec<(&Series, DrawnSeries)> = (self.panel.series.iter())
            .map(|series| (series, self.series(series, &legend.look(&series.name))))
            .collect();
        let named = |kind, series: &Series, clip, shapes: &[Shape]| Layer {
            kind,
            name: series.name.clone(),
            clip,
            shapes: shapes.to_vec(),
        };
        // Every band is below every curve. Half of a curve's width may reach over the edge.
        let [left, top, width, height] = self.plot;
        let around = [left - 0.5 * CURVE, top - 0.5 * CURVE, width + CURVE, height + CURVE];
        layers
            .extend(drawn.iter().map(|(series, drawn)| named("band", series, Some(self.plot), &drawn.bands)));
        for (series, drawn) in &drawn {
            layers.push(named("series", series, Some(around), &drawn.lines));
            layers.push(named("marker", series, None, &drawn.markers));
        }
        layers.push(layer("axes", self.axes()));
        layers
    }

    fn grid(&self) -> Vec<Shape> {
        let [left, top, width, height] = self.plot;
        let across = self.y_ticks.major.iter().map(|(value, _)| {
            let y = self.down(*value);
            line(&[[left, y], [left + width, y]])
        });
        let down = self.x_ticks.major.iter().map(|(value, _)| {
            let x = self.across(*value);
            line(&[[x, top], [x, top + height]])
        });
        across.chain(down).map(|path| stroke(path, palette::FAINT, HAIR, &[])).collect()
    }

    fn axes(&self) -> Vec<Shape> {
        let [left, top, width, height] = self.plot;
        let (right, bottom) = (left + width, top + height);
        let mut shapes =
            vec![stroke(line(&[[left, top], [left, bottom], [right, bottom]]), palette::INK, 0.8, &[])];
        let tick = |from: [f64; 2], to: [f64; 2]| stroke(line(&[from, to]), palette::INK, HAIR, &[]);
        for value in &self.x_ticks.minor {
            let x = self.across(*value);
            shapes.push(tick([x, bottom], [x, bottom + 0.6 * TICK]));
        }
        for value in &self.y_ticks.minor {
            let y = self.down(*value);
            shapes.push(tick([left, y], [left - 0.6 * TICK, y]));
        }
        for (value, label) in &self.x_ticks.major {
            let x = self.across(*value);
            shapes.push(tick([x, bottom], [x, bottom + TICK]));
            let at = [x, bottom + TICK + 0.5 * GAP + 0.75 * SMALL];
            shapes.push(text(label, at, SMALL, Anchor::Middle, palette::INK));
        }
        for (value, label) in &self.y_ticks.major {
            let y = self.down(*value);
            shapes.push(tick([left, y], [left - TICK, y]));
            shapes.push(text(label, [left - TICK - 2.0, y + 0.36 * SMALL], SMALL, Anchor::End, palette::INK));
        }
        let below = [left + width / 2.0, bottom + TICK + 2.0 * LINE_HEIGHT - 1.0];
        shapes.push(text(
            labelled(&self.panel.x, &self.x_ticks),
            below,
            LARGE,
            Anchor::Middle,
            palette::BLACK,
        ));
        let beside = TICK + 1.5 * GAP + SMALL * widest(&self.y_ticks);
        shapes.push(Shape::Text {
            text: labelled(&self.panel.y, &self.y_ticks),
            at: [left - beside, top + height / 2.0],
            size: LARGE,
            anchor: Anchor::Middle,
            upright: true,
            colour: palette::BLACK,
        });
        if !self.panel.title.is_empty() {
            let above = [left, top - 0.8 * GAP];
            shapes.push(text(&*self.panel.title, above, LARGE, Anchor::Start, palette::BLACK));
        }
        shapes
    }

    fn series(&self, series: &Series, look: &Look) -> DrawnSeries {
        let shown = |value: f64, axis: &Axis| value.is_finite() && (!axis.logarithmic || value > 0.0);
        let fits = |[x, y]: &[f64; 2]| shown(*x, &self.panel.x) && shown(*y, &self.panel.y);
        let numbered: Vec<(usize, [f64; 2])> = series.points.iter().copied().enumerate().collect();
        let runs = numbered.split(|(_, point)| !fits(point)).filter(|run| !run.is_empty());
        let mut drawn = DrawnSeries::default();
        for run in runs {
            let places: Vec<[f64; 2]> = run.iter().map(|(_, point)| self.at(*point)).collect();
            let bounds = run.iter().filter_map(|(at, [x, _])| {
                let [low, high] = series.band.get(*at)?;
                (!low.is_nan() && !high.is_nan()).then(|| [self.at([*x, *low]), self.at([*x, *high])])
            });
            let bounds: Vec<[[f64; 2]; 2]> = bounds.collect();
            if series.connected {
                drawn.bands.extend((bounds.len() > 1).then(|| self.band(&bounds, look.colour)));
                drawn.lines.push(stroke(line(&places), look.colour, CURVE, look.dash));
            } else {
                drawn.lines.extend(bounds.iter().map(|bar| stroke(line(bar), look.colour, 1.0, &[])));
            }
            let inside: Vec<[f64; 2]> = places.into_iter().filter(|place| self.includes(*place)).collect();
            let marked = match (series.marked, series.connected) {
                (false, _) => Vec::new(),
                (true, true) => spaced(&inside),
                (true, false) => inside,
            };
            drawn.markers.extend(marked.into_iter().flat_map(|place| mark(place, look)));
        }
        drawn
    }

    /// Whether `place` is in the plotting area, or at its edge but for rounding.
    fn includes(&self, [x, y]: [f64; 2]) -> bool {
        const ROUNDING: f64 = 1e-6;
        let [left, top, width, height] = self.plot;
        let within = |place: f64, length: f64| (-ROUNDING..=length + ROUNDING).contains(&place);
        within(x - left, width) && within(y - top, height)
    }

    fn band(&self, bounds: &[[[f64; 2]; 2]], colour: Colour) -> Shape {
        let low = bounds.iter().map(|[low, _]| *low);
        let high = bounds.iter().rev().map(|[_, high]| *high);
        let outline: Vec<[f64; 2]> = low.chain(high).collect();
        let bands =
            self.panel.series.iter().filter(|series| series.connected && !series.band.is_empty()).count();
        let opacity = BAND_OPACITY * (FEW_BANDS / bands as f64).min(1.0);
        Shape::Filled { path: polygon(&outline), colour, opacity }
    }
}

/// The panel's scales, covering all its data.
fn scales(panel: &Panel) -> (Scale, Scale) {
    let points = || panel.series.iter().flat_map(|series| &series.points);
    let bands = || panel.series.iter().flat_map(|series| &series.band);
    let x = Scale::of(points().map(|point| point[0]), panel.x.logarithmic);
    // A band may reach 0, which a logarithmic axis cannot show: it is cut off below the data.
    let lowest = points().map(|point| point[1]).filter(|y| *y > 0.0).fold(f64::INFINITY, f64::min);
    let floor = if panel.y.logarithmic { lowest / 2.0 } else { f64::NEG_INFINITY };
    let ends = bands().flat_map(|[low, high]| [low.max(floor), *high]);
    let levels = panel.levels.iter().map(|level| level.y);
    let y = Scale::of(points().map(|point| point[1]).chain(ends).chain(levels), panel.y.logarithmic);
    let set = |scale: Scale, axis: &Axis| axis.range.map_or(scale, |range| scale.within(range));
    (set(x, &panel.x), set(y, &panel.y))
}

/// As many ticks as fit in `width` without overlapping labels.
fn fitting(scale: &Scale, width: f64, whole: bool) -> Ticks {
    let fits = |ticks: &Ticks| {
        let labels = ticks.major.windows(2);
        labels.into_iter().all(|pair| {
            let apart = (scale.place(pair[1].0) - scale.place(pair[0].0)) * width;
            apart > SMALL * (0.5 * (font::width(&pair[0].1) + font::width(&pair[1].1)) + 0.8)
        })
    };
    let max_ticks = (width / 28.0) as usize;
    let tried = (1..=max_ticks).rev().map(|count| scale.ticks(count, whole));
    tried.into_iter().find(fits).unwrap_or_else(|| scale.ticks(1, whole))
}

fn widest(ticks: &Ticks) -> f64 {
    ticks.major.iter().map(|(_, label)| font::width(label)).fold(0.0, f64::max)
}

fn labelled(axis: &Axis, ticks: &Ticks) -> String {
    let factor = ticks.factor.as_ref().map(|factor| format!(" (×{factor})"));
    axis.label.clone() + &factor.unwrap_or_default()
}

/// The elements of `places` that are far enough from the previous one kept.
fn spaced(places: &[[f64; 2]]) -> Vec<[f64; 2]> {
    let mut kept: Vec<[f64; 2]> = Vec::new();
    for place in places {
        let clear = |before: &[f64; 2]| (place[0] - before[0]).hypot(place[1] - before[1]) >= BETWEEN_MARKERS;
        if kept.last().is_none_or(clear) {
            kept.push(*place);
        }
    }
    kept
}

/// A marker with a white rim, which separates it from the curve.
fn mark([x, y]: [f64; 2], look: &Look) -> [Shape; 2] {
    let corners = |corners: &[[f64; 2]]| -> Vec<Segment> {
        let at = |[dx, dy]: &[f64; 2]| [x + MARK * dx, y + MARK * dy];
        polygon(&corners.iter().map(at).collect::<Vec<_>>())
    };
    let path = match look.marker {
        Marker::Circle => circle([x, y], MARK),
        Marker::Square => corners(&[[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]]),
        Marker::Triangle => corners(&[[0.0, -1.2], [1.1, 0.8], [-1.1, 0.8]]),
        Marker::Diamond => corners(&[[0.0, -1.3], [1.1, 0.0], [0.0, 1.3], [-1.1, 0.0]]),
        Marker::Reversed => corners(&[[0.0, 1.2], [1.1, -0.8], [-1.1, -0.8]]),
    };
    let rim = stroke(path.clone(), palette::WHITE, 1.2, &[]);
    [rim, Shape::Filled { path, colour: look.colour, opacity: 1.0 }]
}

/// A circle approximated by eight parabolas.
fn circle([x, y]: [f64; 2], radius: f64) -> Vec<Segment> {
    const ARCS: usize = 8;
    let step = std::f64::consts::TAU / ARCS as f64;
    let at = |turn: f64, radius: f64| [x + radius * turn.cos(), y + radius * turn.sin()];
    let outer = radius / (step / 2.0).cos();
    let arc = |number: usize| {
        let turn = number as f64 * step;
        Segment::Quad(at(turn + step / 2.0, outer), at(turn + step, radius))
    };
    let begin = Segment::Move(at(0.0, radius));
    std::iter::once(begin).chain((0..ARCS).map(arc)).chain([Segment::Close]).collect()
}

fn layer(kind: &'static str, shapes: Vec<Shape>) -> Layer {
    Layer { kind, name: String::new(), clip: None, shapes }
}

fn stroke(path: Vec<Segment>, colour: Colour, width: f64, dash: &[f64]) -> Shape {
    Shape::Stroked { path, colour, width, dash: dash.to_vec() }
}

fn text(text: impl Into<String>, at: [f64; 2], size: f64, anchor: Anchor, colour: Colour) -> Shape {
    Shape::Text { text: text.into(), at, size, anchor, upright: false, colour }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bounding box of a text.
    fn extent(shape: &Shape) -> Option<[[f64; 2]; 2]> {
        let Shape::Text { text, at: [x, y], size, anchor, upright, .. } = shape else { return None };
        let width = size * font::width(text);
        let (before, after) = (anchor.share() * width, (1.0 - anchor.share()) * width);
        Some(match upright {
            true => [[x - size, y - after], [x + 0.3 * size, y + before]],
            false => [[x - before, y - size], [x + after, y + 0.3 * size]],
        })
    }

    fn figures() -> Vec<Figure> {
        let wide = vec![[1e-3, -2.5e7], [5e-2, 3.1e8]];
        let small = vec![[0.0, 1e-9], [3.0, 1e4]];
        let of = |x: Axis, y: Axis, points: &[[f64; 2]]| {
            let panel = Panel::new(x, y).titled("a title");
            (0..4).fold(panel, |panel, at| {
                panel.with(Series::line(format!("the series numbered {at}"), points.to_vec()))
            })
        };
        let first = || of(Axis::logarithmic("rate"), Axis::linear("a rather long label of an axis"), &wide);
        let second = || of(Axis::whole("steps").range(0.0, 1e6), Axis::logarithmic("loss"), &small);
        let panels =
            [vec![first()], vec![second()], vec![first(), second()], vec![second(), first(), second()]];
        panels.into_iter().map(|panels| Figure { panels }).collect()
    }

    #[test]
    fn labels_are_inside_the_figure_and_do_not_overlap() {
        for figure in figures() {
            let Drawing { size: [width, height], layers } = arrange(&figure);
            let extents: Vec<_> = layers.iter().flat_map(|layer| &layer.shapes).filter_map(extent).collect();
            for (at, [[left, top], [right, bottom]]) in extents.iter().enumerate() {
                assert!(*left >= 0.0 && *top >= 0.0 && *right <= width && *bottom <= height);
                let apart = |other: &[[f64; 2]; 2]| {
                    other[0][0] >= *right
                        || other[1][0] <= *left
                        || other[0][1] >= *bottom
                        || other[1][1] <= *top
                };
                assert!(extents[..at].iter().all(apart), "label {at} of {} panels", figure.panels.len());
            }
        }
    }

    #[test]
    fn what_an_axis_leaves_out_is_not_drawn_beside_the_plot() {
        let points = vec![[0.0, 0.0], [1.0, 0.49], [2.0, 0.5], [3.0, 1.0], [4.0, 1.01]];
        let axes = || Panel::new(Axis::linear("x"), Axis::linear("y").range(0.5, 1.0));
        let figure = Figure { panels: vec![axes().with(Series::line("curve", points))] };
        let drawn = arrange(&figure);
        let layer = |kind| drawn.layers.iter().find(|layer| layer.kind == kind).unwrap();
        // A rim and a filling for each of the two points in the plot.
        assert_eq!(layer("marker").shapes.len(), 4);
        let [band, series] = ["band", "series"].map(|kind| layer(kind).clip.unwrap());
        assert!(series[3] - band[3] <= CURVE + 1e-9);
    }

    #[test]
    fn values_that_cannot_be_shown_leave_a_gap() {
        let odd = vec![[1.0, 1.0], [2.0, f64::NAN], [3.0, -1.0], [4.0, f64::INFINITY], [5.0, 2.0]];
        let panel = |x: Axis, y: Axis, points: Vec<[f64; 2]>| {
            let band = points.iter().map(|[_, y]| [y - 1.0, *y]).collect();
            Figure { panels: vec![Panel::new(x, y).with(Series::line("odd", points).band(band))] }
        };
        let drawn = arrange(&panel(Axis::linear("x"), Axis::logarithmic("y"), odd));
        let strokes = |drawing: &Drawing| {
            let series = drawing.layers.iter().filter(|layer| ["series", "marker"].contains(&layer.kind));
            series
                .flat_map(|layer| &layer.shapes)
                .filter(|shape| matches!(shape, Shape::Stroked { .. }))
                .count()
        };
        // Two runs of one point: a curve and a marker's rim each.
        assert_eq!(strokes(&drawn), 4);
        let nothing = arrange(&panel(Axis::logarithmic("x"), Axis::logarithmic("y"), vec![[-1.0, 0.0]]));
        assert_eq!(strokes(&nothing), 0);
        assert_eq!(arrange(&Figure { panels: vec![] }).size, panel_size(0));
    }
}
