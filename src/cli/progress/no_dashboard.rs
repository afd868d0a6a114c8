//! Stands in for the dashboard in builds without it.

use metaburn::config::Config;
use metaburn::run::{StepRecord, ValidationRecord};

/// Never constructed.
pub enum Dashboard {}

/// Why the dashboard cannot be shown.
pub fn obstacle() -> Option<String> {
    Some("requires a build with the feature `dashboard`, on Linux or macOS".into())
}

pub fn is_shown() -> bool {
    false
}

pub fn leave() {}

impl Dashboard {
    pub fn open(_: &Config) -> Option<Self> {
        None
    }

    pub fn step(&mut self, _: &StepRecord) {
        match *self {}
    }

    pub fn validation(&mut self, _: &ValidationRecord) {
        match *self {}
    }

    pub fn warned(&mut self) {
        match *self {}
    }

    pub fn is_killed(&self) -> bool {
        match *self {}
    }

    pub fn stops(&self) -> bool {
        match *self {}
    }
}
