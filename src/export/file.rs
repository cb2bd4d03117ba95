//! A file that is there whole or not at all: written under a temporary name by a thread of its own,
//! so that a slow disk holds no thread of the runtime, then synced and renamed.
//!
//! The thread owns the file. Whatever becomes of the run, its end of the channel closes, and unless the
//! file was finished the thread removes it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    thread,
};

use tokio::sync::{mpsc, oneshot};

use crate::model::{Error, Result};

/// Chunks under way to the disk.
const DEPTH: usize = 4;

enum Order {
    Write(Vec<u8>),
    Finish(oneshot::Sender<io::Result<()>>),
}

/// A file that is being written.
pub struct Writing {
    orders: mpsc::Sender<Order>,
    failed: Option<oneshot::Receiver<io::Error>>,
}

impl Writing {
    /// Makes the temporary file.
    ///
    /// # Errors
    /// EXPORT_FAILED
    pub fn begin(to: &str, temporary: &str) -> Result<Self> {
        let (to, temporary) = (PathBuf::from(to), PathBuf::from(temporary));
        if fs::metadata(&to).is_ok_and(|found| !found.is_file()) {
            return Err(Error::Export(
                "the path names something that is no file: pass a stream to write to it".to_owned(),
            ));
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&temporary)
            .map_err(|e| failed(&e))?;
        let (orders, received) = mpsc::channel(DEPTH);
        let (tell, told) = oneshot::channel();
        let mut left = Left(Some(temporary));
        thread::Builder::new()
            .name("tamma-export".to_owned())
            .spawn(move || work(file, &to, &mut left, received, tell))
            .map_err(|e| failed(&e))?;
        Ok(Self {
            orders,
            failed: Some(told),
        })
    }

    /// Hands a chunk over; waits while the disk is behind.
    ///
    /// # Errors
    /// EXPORT_FAILED: why an earlier chunk could not be written.
    pub async fn write(&mut self, chunk: Vec<u8>) -> Result<()> {
        match self.orders.send(Order::Write(chunk)).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.why().await),
        }
    }

    /// Syncs the file and gives it its name.
    ///
    /// # Errors
    /// EXPORT_FAILED
    pub async fn finish(mut self) -> Result<()> {
        let (tell, told) = oneshot::channel();
        if self.orders.send(Order::Finish(tell)).await.is_err() {
            return Err(self.why().await);
        }
        match told.await {
            Ok(done) => done.map_err(|e| failed(&e)),
            Err(_) => Err(self.why().await),
        }
    }

    async fn why(&mut self) -> Error {
        match self.failed.take() {
            Some(told) => match told.await {
                Ok(error) => failed(&error),
                Err(_) => Error::Export("the file could not be written".to_owned()),
            },
            None => Error::Export("the file could not be written".to_owned()),
        }
    }
}

/// The temporary file, removed unless it was renamed.
struct Left(Option<PathBuf>);

impl Drop for Left {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            // Nothing more can be done about one that does not go.
            let _ = fs::remove_file(path);
        }
    }
}

fn work(
    mut file: File,
    to: &Path,
    left: &mut Left,
    mut orders: mpsc::Receiver<Order>,
    tell: oneshot::Sender<io::Error>,
) {
    while let Some(order) = orders.blocking_recv() {
        match order {
            Order::Write(chunk) => {
                if let Err(error) = file.write_all(&chunk) {
                    drop(file);
                    // Gone before the caller hears of it.
                    drop(left.0.take().map(fs::remove_file));
                    let _ = tell.send(error);
                    return;
                }
            }
            Order::Finish(done) => {
                let finished = finish(file, to, left);
                drop(left.0.take().map(fs::remove_file));
                let _ = done.send(finished);
                return;
            }
        }
    }
    drop(file);
}

fn finish(file: File, to: &Path, left: &mut Left) -> io::Result<()> {
    file.sync_all()?;
    drop(file);
    let Some(temporary) = &left.0 else {
        return Ok(());
    };
    fs::rename(temporary, to)?;
    left.0 = None;
    // The name itself is on the disk once its folder is; not every system can sync one.
    if let Some(folder) = to.parent().filter(|folder| !folder.as_os_str().is_empty())
        && let Ok(folder) = File::open(folder)
    {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// Paths are the caller's own: what the system says of them may be shown.
fn failed(error: &io::Error) -> Error {
    Error::Export(format!("the file could not be written: {error}"))
}
