//! A lock on a file that the kernel releases when the process dies.
//!
//! The embedded server's starter needs it: a pid file can lie after a crash, a kernel lock cannot.

use std::fs::{File, OpenOptions};

use napi::{Error, Result};
use napi_derive::napi;

/// An open file that may be locked, exclusively or shared. Closing it releases the lock.
#[napi]
pub struct FileLock(Option<File>);

#[napi]
impl FileLock {
    /// Opens the file, and creates it where it is missing. No lock is taken yet.
    #[napi(factory, catch_unwind)]
    pub fn open(path: String) -> Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| Error::from_reason(format!("cannot open the lock file {path}: {e}")))?;
        Ok(Self(Some(file)))
    }

    /// Whether the exclusive lock was free and is now held. Never waits.
    #[napi(catch_unwind)]
    pub fn try_exclusive(&self) -> bool {
        self.0.as_ref().is_some_and(|f| f.try_lock().is_ok())
    }

    /// Whether no one holds the file exclusively and it is now held with others. Never waits.
    #[napi(catch_unwind)]
    pub fn try_shared(&self) -> bool {
        self.0.as_ref().is_some_and(|f| f.try_lock_shared().is_ok())
    }

    /// Releases the lock. A second call does nothing.
    #[napi(catch_unwind)]
    pub fn close(&mut self) {
        self.0 = None;
    }
}
