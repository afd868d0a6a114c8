//! Figures as files: the content of an SVG, and the pixels of a PNG.

use metaburn::report::{Axis, Figure, Panel, Series};
use roxmltree::Document;
use std::fs;
use tempfile::TempDir;

/// A figure of two panels with three named series, a level and a band.
fn figure() -> Figure {
    let falling: Vec<[f64; 2]> = (1..50).map(|x| [f64::from(x), 10.0 / f64::from(x)]).collect();
    let band = falling.iter().map(|[_, y]| [0.8 * y, 1.2 * y]).collect();
    let flat = falling.iter().map(|[x, _]| [*x, 2.0]).collect();
    let left = Panel::new(Axis::linear("outer steps"), Axis::logarithmic("|∇M|"))
        .with(Series::line("UFOM <q = 0.1>", falling.clone()).band(band))
        .with(Series::curve("first-order", flat))
        .level("√(2D)", 0.35);
    let right = Panel::new(Axis::logarithmic("α"), Axis::linear("q").range(0.0, 1.0)).titled("best q");
    let right = right.with(Series::marks("measured", vec![[0.01, 0.2], [0.05, 0.9]]));
    Figure { panels: vec![left, right.with(Series::curve("first-order", vec![[0.01, 0.1], [0.05, 0.3]]))] }
}

#[test]
fn an_svg_has_labels_series_and_self_contained_text() {
    let text = figure().svg();
    let svg = Document::parse(&text).unwrap();
    let of_class = |class: &str| -> Vec<&str> {
        let nodes = svg.descendants().filter(|node| node.attribute("class") == Some(class));
        nodes.filter_map(|node| node.attribute("aria-label")).collect()
    };
    assert_eq!(of_class("series"), ["UFOM <q = 0.1>", "first-order", "measured", "first-order"]);
    assert_eq!(of_class("level"), ["√(2D)"]);
    let texts = of_class("text");
    for label in
        ["outer steps", "|∇M|", "α", "q", "best q", "UFOM <q = 0.1>", "first-order", "measured", "√(2D)"]
    {
        assert_eq!(texts.iter().filter(|text| **text == label).count(), 1, "{label} in {texts:?}");
    }
    // Text is drawn as shapes, so that no font is needed, and every shape that is used is defined.
    let ids: Vec<&str> = svg.descendants().filter_map(|node| node.attribute("id")).collect();
    let uses = || svg.descendants().filter(|node| node.has_tag_name("use"));
    assert!(svg.descendants().all(|node| !node.has_tag_name("text")) && uses().count() > 50);
    assert!(uses().all(|node| ids.contains(&node.attribute("href").unwrap().trim_start_matches('#'))));
    // Series of the same name have the same colour in all panels.
    let colours: Vec<&str> = svg
        .descendants()
        .filter(|node| {
            node.attribute("aria-label") == Some("first-order") && node.attribute("class") == Some("series")
        })
        .filter_map(|node| node.descendants().find_map(|path| path.attribute("stroke")))
        .collect();
    assert_eq!(colours, ["#d55e00", "#d55e00"]);
}

#[test]
fn a_png_has_the_expected_size_and_colours() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("figure.png");
    figure().write(&path).unwrap();
    let image = image::open(&path).unwrap().to_rgb8();
    let [width, height] = figure().pixels();
    // Two panels of 270 points at 200 dots an inch.
    assert_eq!((image.dimensions(), width), ((width, height), 1500));
    let count = |colour: [u8; 3]| image.pixels().filter(|pixel| pixel.0 == colour).count();
    for series in [[0, 114, 178], [213, 94, 0], [0, 158, 115]] {
        assert!(count(series) > 100, "{series:?} is hardly visible");
    }
    let all = (width * height) as usize;
    assert!(count([255; 3]) > all / 2 && count([255; 3]) < all - 10_000);
    // The legend is above the axes.
    let inked = |y: u32| (0..width).any(|x| image.get_pixel(x, y).0 != [255; 3]);
    assert!(!inked(0) && !inked(height - 1) && (30..80).any(inked));
}

#[test]
fn only_svg_and_png_are_written() {
    let folder = TempDir::new().unwrap();
    let error = figure().write(&folder.path().join("figure.pdf")).unwrap_err().to_string();
    assert!(error.contains(".svg nor .png"), "{error}");
    figure().write(&folder.path().join("figure.SVG")).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
