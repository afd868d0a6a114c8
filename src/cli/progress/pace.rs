//! The pace of work that a session may find partly done.

/// How much of all work is done, and how much of that this session did. Shares are from 0 to 1.
#[derive(Debug, Default)]
pub struct Pace {
    done: f64,
    own: f64,
}

impl Pace {
    /// The share that is done.
    pub fn done(&self) -> f64 {
        self.done
    }

    /// The share `done` is done; what is new in it was not done by this session.
    pub fn starts_at(&mut self, done: f64) {
        self.done = done;
    }

    /// This session has gone on to the share `done`.
    pub fn moves_to(&mut self, done: f64) {
        self.own += done - self.done;
        self.done = done;
    }

    /// Seconds left at the pace of this session, which has taken `seconds` so far; `None` if it has done nothing yet.
    pub fn seconds_left(&self, seconds: f64) -> Option<f64> {
        (self.own > 0.0).then(|| (1.0 - self.done).max(0.0) * seconds / self.own)
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;

    #[test]
    fn only_work_of_this_session_counts() {
        let mut pace = Pace::default();
        // The first half was finished before, and so was half of the second.
        pace.starts_at(0.5);
        pace.starts_at(0.75);
        assert_eq!(pace.seconds_left(10.0), None);
        pace.moves_to(0.8125);
        assert_eq!((pace.done(), pace.seconds_left(10.0)), (0.8125, Some(30.0)));
        // Another process has finished a piece in between.
        pace.starts_at(0.875);
        assert_eq!(pace.seconds_left(10.0), Some(20.0));
        pace.moves_to(0.9375);
        assert_eq!(pace.seconds_left(20.0), Some(10.0));
        pace.moves_to(1.0);
        assert_eq!(pace.seconds_left(30.0), Some(0.0));
    }
}
