//! What is determined while images are read: what folders mean, whether dark is ink, how many have colours, and what was left out.

use serde::{Deserialize, Serialize};

use super::layout::Layout;
use super::left_out::LeftOut;

/// Brightness at which borders count neither as light nor as dark.
const MIDDLE: f64 = 127.5;
/// A mean brightness of the borders within this distance of the middle is too close to be sure.
const CLOSE: f64 = 25.5;
/// So is a decision that would be another for more than this share of the images.
const DIVIDED: f64 = 0.2;

/// What reading images found out and decided.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Findings {
    /// What folders or lists were taken to mean, if the images are the user's own.
    pub layout: Option<Layout>,
    /// Which pixels are ink, if the source leaves that open and the images are grey.
    pub ink: Option<Ink>,
    /// Number of images that have colours.
    pub coloured: usize,
    /// Files and folders that were not used.
    pub left_out: LeftOut,
}

/// Whether dark or light is ink, and the borders of the images, which are paper.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub struct Ink {
    /// Whether dark is ink, so that images are inverted.
    pub inverted: bool,
    /// Whether the caller said so, rather than the borders.
    pub given: bool,
    /// Mean brightness of the images' borders, 0 (black) to 255 (white).
    pub border: f64,
    /// Number of images whose own border is light.
    pub light: usize,
    /// Number of images.
    pub images: usize,
}

impl Ink {
    /// Decides by `given`, or by the mean of the images' `borders`: if they are light, dark is ink.
    pub fn decide(borders: &[f64], given: Option<bool>) -> Self {
        let sum = borders.iter().sum::<f64>();
        let images = borders.len();
        Self {
            inverted: given.unwrap_or(sum > MIDDLE * images as f64),
            given: given.is_some(),
            border: sum / images.max(1) as f64,
            light: borders.iter().filter(|border| **border > MIDDLE).count(),
            images,
        }
    }

    /// "dark is ink" or "light is ink".
    pub fn name(&self) -> &'static str {
        if self.inverted { "dark is ink" } else { "light is ink" }
    }

    /// What was decided and by what.
    pub fn describe(&self) -> String {
        let by = if self.given { "as data.invert says; " } else { "" };
        format!(
            "{} ({by}the borders of the images have a brightness of {:.0} of 255)",
            self.name(),
            self.border
        )
    }

    /// How many images would be judged otherwise by their own borders.
    pub fn dissenting(&self) -> usize {
        if self.inverted { self.images - self.light } else { self.light }
    }

    /// That the borders decided and the decision was close, if so.
    pub fn doubt(&self) -> Option<String> {
        let close = (self.border - MIDDLE).abs() < CLOSE;
        let divided = self.dissenting() as f64 > DIVIDED * self.images as f64;
        (!self.given && (close || divided)).then(|| {
            format!(
                "{} pixels were taken as ink, but the decision was close: the borders of the images have a mean brightness of \
                 {:.0} of 255, and {} of {} images would be judged differently",
                if self.inverted { "dark" } else { "light" },
                self.border,
                self.dissenting(),
                self.images
            )
        })
    }

    /// A warning if the decision is not what the borders of these images say. `option` followed by a truth value is how a user
    /// decides otherwise.
    pub fn contradiction(&self, option: &str) -> Option<String> {
        let clear = (self.border - MIDDLE).abs() >= CLOSE;
        (clear && (self.border > MIDDLE) != self.inverted).then(|| {
            let (borders, other) = if self.inverted { ("dark", false) } else { ("light", true) };
            format!(
                "{}, as in training, but the borders of these images are {borders} ({:.0} of 255); if their background is \
                 {borders}, give {option}{other}",
                self.name(),
                self.border
            )
        })
    }
}

impl Findings {
    /// What a user should know before these images are used: what is missing from them.
    pub fn warnings(&self) -> Vec<String> {
        let doubtful = self.left_out.groups().iter().filter(|group| group.reason.is_doubtful());
        let doubt = self.ink.and_then(|ink| ink.doubt()).map(|doubt| {
            format!(
                "{doubt}; look at some with `metaburn data preview`, and set data.invert=true (dark is ink) or data.invert=false"
            )
        });
        doubtful.map(ToString::to_string).chain(doubt).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_border_decides_unless_the_caller_does() {
        assert!(Ink::decide(&[250.0, 240.0], None).inverted);
        assert!(!Ink::decide(&[2.0, 200.0], None).inverted);
        assert!(!Ink::decide(&[250.0], Some(false)).inverted);
        assert!(!Ink::decide(&[127.5], None).inverted);
    }

    #[test]
    fn a_close_or_divided_decision_is_said() {
        let warns = |borders: &[f64], given| Ink::decide(borders, given).doubt().is_some();
        assert!(warns(&[124.0], None) && warns(&[132.0], None) && warns(&[255.0, 255.0, 0.0], None));
        assert!(!warns(&[124.0], Some(true)) && !warns(&[250.0; 9], None) && !warns(&[0.0], None));
        let contradicts =
            |border: f64, inverted| Ink::decide(&[border], Some(inverted)).contradiction("--invert ");
        assert!(contradicts(10.0, true).is_some_and(|text| text.contains("--invert false")));
        assert!(contradicts(250.0, false).is_some_and(|text| text.contains("--invert true")));
        assert!(contradicts(250.0, true).is_none() && contradicts(120.0, true).is_none());
    }
}
