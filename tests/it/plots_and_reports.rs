//! `plot` and `report`: the files they write are complete and self-contained.

use crate::common::{Running, TINY, folder_with_images, last_saved_step, metaburn, run};
use roxmltree::Document;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const SECTIONS: [&str; 7] =
    ["accuracy", "curves", "confusion", "episodes", "config", "environment", "commands"];

/// A page without its first line, the doctype; the rest is XML.
fn page(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.strip_prefix("<!DOCTYPE html>\n").expect("a page of HTML").to_string()
}

/// Asserts that a page loads nothing and runs no script.
fn assert_self_contained(document: &Document) {
    for node in document.descendants() {
        assert!(!["script", "link", "iframe"].contains(&node.tag_name().name()));
        for attribute in node.attributes() {
            let value = attribute.value();
            assert!(!attribute.name().starts_with("on"), "{}", attribute.name());
            match attribute.name() {
                "src" => assert!(value.starts_with("data:image/"), "{value:.40}"),
                "href" => assert!(value.starts_with('#'), "{value:.40}"),
                _ => {}
            }
        }
    }
    let style = document.descendants().find(|node| node.has_tag_name((XHTML, "style"))).expect("a style");
    let style = style.text().unwrap_or_default();
    assert!(style.contains("prefers-color-scheme") && !style.contains("url(") && !style.contains("@import"));
}

const XHTML: &str = "http://www.w3.org/1999/xhtml";

#[test]
fn plot_writes_every_format() {
    let folder = TempDir::new().unwrap();
    let tiny = TINY.replace("eval.every=0", "eval.every=2");
    let adapts = "--set eval.episodes=2 --set estimator.name=adaptive --steps 6 --run-dir";
    run(folder.path(), &format!("train {tiny} {adapts} one")).ok();
    run(folder.path(), "plot one").ok();
    let text = fs::read_to_string(folder.path().join("plot.svg")).unwrap();
    let svg = Document::parse(&text).unwrap();
    let labels: Vec<&str> = svg.descendants().filter_map(|node| node.attribute("aria-label")).collect();
    for label in [
        "query loss",
        "validation accuracy (%)",
        "meta-gradient norm",
        "products per step",
        "probability",
        "q",
    ] {
        assert!(labels.contains(&label), "{label} in {labels:?}");
    }
    run(folder.path(), "plot one --against seconds -o one.png").ok();
    assert!(image::open(folder.path().join("one.png")).is_ok());
    run(folder.path(), "plot one one -o two.html").ok();
    let text = page(&folder.path().join("two.html"));
    assert_self_contained(&Document::parse(&text).unwrap());
    run(folder.path(), "plot one -o one.pdf").refused(&[".svg nor .png nor .html"]);
    run(folder.path(), "plot nowhere").refused(&["there is no run in nowhere"]);
    fs::write(folder.path().join("one/metrics.jsonl"), "").unwrap();
    run(folder.path(), "plot one").refused(&["no outer step yet"]);
}

#[test]
fn report_has_every_section_and_the_accuracy_of_eval() {
    let folder = TempDir::new().unwrap();
    run(folder.path(), &format!("train {TINY} --steps 4 --run-dir one")).ok();
    let printed = run(folder.path(), "report one --episodes 6 --show 2").ok().stdout;
    assert_eq!(printed.trim(), "one/report.html");
    let text = page(&folder.path().join("one/report.html"));
    let document = Document::parse(&text).unwrap();
    assert_self_contained(&document);
    let sections = document.descendants().filter(|node| node.has_tag_name((XHTML, "section")));
    assert_eq!(sections.filter_map(|node| node.attribute("id")).collect::<Vec<_>>(), SECTIONS);
    let tested = run(folder.path(), "eval one --episodes 6 --json").json();
    let accuracy = format!(
        "{:.2} % ± {:.2}",
        tested["test_accuracy"].as_f64().unwrap(),
        tested["ci95"].as_f64().unwrap()
    );
    assert!(text.contains(&accuracy), "{accuracy}");
    // Two episodes of 5 ways and 2 query images.
    let queries = document
        .descendants()
        .filter(|node| node.attribute("class").is_some_and(|class| class.starts_with("query ")));
    assert_eq!(queries.count(), 2 * 5 * 2);
    run(folder.path(), "report nowhere").refused(&["there is no run in nowhere"]);
    run(folder.path(), "report one -o page.png").refused(&["page.png", "HTML page", ".html"]);
    run(folder.path(), "report one --episodes 2 -o nowhere/page.html")
        .refused(&["cannot write nowhere/page.html"]);
}

#[test]
fn class_names_are_escaped() {
    let folder = folder_with_images();
    for class in 0..10 {
        let from = folder.path().join(format!("images/class{class}"));
        fs::rename(from, folder.path().join(format!("images/<script>alert(&{class})"))).unwrap();
    }
    let tiny = TINY.replace("meta_batch=2", "meta_batch=2 --set task.ways=2");
    run(
        folder.path(),
        &format!("train {tiny} --set data.source=folder --data images --steps 1 --run-dir one"),
    )
    .ok();
    run(folder.path(), "report one").ok();
    let text = page(&folder.path().join("one/report.html"));
    let document = Document::parse(&text).unwrap();
    assert_self_contained(&document);
    let named =
        |node: roxmltree::Node| node.attribute("alt").is_some_and(|alt| alt.contains("<script>alert(&"));
    assert!(document.descendants().any(named));
}

#[test]
fn report_reads_a_run_that_was_killed_and_resumed() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("one");
    let line = format!("train {TINY} --set checkpoint.every=2 --steps 30 --run-dir one");
    let mut running = Running::start(&mut metaburn(folder.path(), &line));
    running.wait_until(|| last_saved_step(&path).is_some_and(|step| step >= 4));
    drop(running);
    run(folder.path(), "resume one").ok();
    run(folder.path(), "report one -o page.html").ok();
    assert!(page(&folder.path().join("page.html")).contains("after 30 outer steps"));
}
