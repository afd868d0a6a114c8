//! In the place of the dashboard, where the program was built without it.

use metaburn::config::Config;
use metaburn::trainer::{StepRecord, ValidationRecord};

/// There is none.
pub enum Dashboard {}

/// Why none can be shown.
pub fn hindrance() -> Option<String> {
    Some("needs a build with the feature `dashboard`, on Linux or macOS".into())
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
