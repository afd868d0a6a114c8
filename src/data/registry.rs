//! The list of all sources of images.

use super::{Dataset, Source, cifar100, folder, glyphs, mnist, omniglot};

/// The sources of few-shot classes: the values of `data.source`, in the order in which messages list them. The
/// first is the default.
pub const SOURCES: &[&Source] = &[&glyphs::SOURCE, &omniglot::SOURCE, &cifar100::SOURCE, &folder::SOURCE];

/// Datasets of ordinary labelled images. They are downloaded and checked as those of [`SOURCES`] are.
const LABELLED: &[&Dataset] = &[&mnist::DATASET];

/// All datasets that `metaburn data fetch` downloads and `metaburn doctor` checks.
pub fn datasets() -> impl Iterator<Item = &'static Dataset> {
    SOURCES.iter().filter_map(|source| source.dataset).chain(LABELLED.iter().copied())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let sources: BTreeSet<_> = SOURCES.iter().map(|source| source.name).collect();
        let datasets_by_name: BTreeSet<_> = datasets().map(|dataset| dataset.name).collect();
        assert_eq!((sources.len(), datasets_by_name.len()), (SOURCES.len(), datasets().count()));
    }

    #[test]
    fn every_source_offers_a_split() {
        assert!(SOURCES.iter().all(|source| !source.splits.is_empty()));
    }
}
