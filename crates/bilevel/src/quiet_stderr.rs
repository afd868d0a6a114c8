//! Standard error silenced for a while: graphics drivers print messages that do not concern the user, such as a missing
//! window system. Errors that matter are returned.

/// While it exists, standard error is discarded. On systems other than Unix it has no effect.
pub struct QuietStderr {
    #[cfg(unix)]
    original: Option<std::os::fd::OwnedFd>,
}

#[cfg(unix)]
impl QuietStderr {
    /// Redirects standard error to `/dev/null`; has no effect if that fails.
    pub fn begin() -> Self {
        let null = std::fs::File::options().write(true).open("/dev/null");
        let original = rustix::io::dup(rustix::stdio::stderr()).ok();
        Self {
            original: original.filter(|_| null.is_ok_and(|null| rustix::stdio::dup2_stderr(null).is_ok())),
        }
    }
}

#[cfg(unix)]
impl Drop for QuietStderr {
    fn drop(&mut self) {
        if let Some(original) = &self.original {
            let _ = rustix::stdio::dup2_stderr(original);
        }
    }
}

#[cfg(not(unix))]
impl QuietStderr {
    /// Has no effect on this system.
    pub fn begin() -> Self {
        Self {}
    }
}
