//! Standard error, closed for a while: graphics drivers say there what is not for people, such as that no window
//! system answers, and what matters comes back from them as an error.

/// Standard error goes nowhere until this is dropped; on systems other than Unix it stays as it is.
pub struct Silence {
    #[cfg(unix)]
    before: Option<std::os::fd::OwnedFd>,
}

#[cfg(unix)]
impl Silence {
    /// Begins it. Where that fails, nothing is silent.
    pub fn begin() -> Self {
        let nowhere = std::fs::File::options().write(true).open("/dev/null");
        let before = rustix::io::dup(rustix::stdio::stderr()).ok();
        Self {
            before: before
                .filter(|_| nowhere.is_ok_and(|nowhere| rustix::stdio::dup2_stderr(nowhere).is_ok())),
        }
    }
}

#[cfg(unix)]
impl Drop for Silence {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = rustix::stdio::dup2_stderr(before);
        }
    }
}

#[cfg(not(unix))]
impl Silence {
    /// Begins it.
    pub fn begin() -> Self {
        Self {}
    }
}
