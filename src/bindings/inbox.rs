//! Batches on their way to one reader in JavaScript.

use std::{
    ptr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use napi::{Env, Result, bindgen_prelude::ToNapiValue, sys};
use napi_derive::napi;
use tokio::sync::mpsc;

use super::kept;
use super::port::Port;
use super::value::{Deferred, Made, ascii, null, pair};
use crate::exec::Batch;

/// Batches under way to a reader. Larger means more memory, smaller a server that waits.
pub const DEPTH: usize = 4;

/// The receiving end of a run. Dropping it tells the run that no one reads.
pub struct Inbox {
    batches: Mutex<mpsc::Receiver<Batch>>,
    port: Arc<Port>,
    waiting: Mutex<Option<Waiting>>,
    posted: AtomicBool,
    ended: AtomicBool,
}

struct Waiting {
    deferred: Deferred,
    kept: u64,
    /// Answer with the stream where more follows: `execute` did not ask for one.
    hand_over: bool,
}

impl Inbox {
    /// An inbox, and where the run sends to.
    pub fn new(port: &Arc<Port>) -> (Arc<Self>, mpsc::Sender<Batch>) {
        let (sender, receiver) = mpsc::channel(DEPTH);
        let inbox = Self {
            batches: Mutex::new(receiver),
            port: Arc::clone(port),
            waiting: Mutex::new(None),
            posted: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        };
        (Arc::new(inbox), sender)
    }

    fn batches(&self) -> MutexGuard<'_, mpsc::Receiver<Batch>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll(self: &Arc<Self>) -> Poll<Option<Batch>> {
        if self.ended.load(Ordering::Acquire) {
            return Poll::Ready(None);
        }
        let waker = Waker::from(Arc::new(InboxWaker {
            inbox: Arc::downgrade(self),
            port: Arc::downgrade(&self.port),
        }));
        let polled = self.batches().poll_recv(&mut Context::from_waker(&waker));
        match &polled {
            Poll::Ready(Some(batch)) if batch.last => self.ended.store(true, Ordering::Release),
            // The run ended without its last batch: it panicked.
            Poll::Ready(None) => {
                self.ended.store(true, Ordering::Release);
                return Poll::Ready(Some(Batch::internal("the run ended without a last word")));
            }
            _ => {}
        }
        polled
    }

    /// The next batch where there is one, else a promise of it; null after the last.
    pub fn next(self: &Arc<Self>, env: sys::napi_env, hand_over: bool) -> Result<sys::napi_value> {
        match self.poll() {
            Poll::Ready(batch) if !hand_over => Ok(unsafe { self.value(env, batch, false) }),
            polled => {
                let (deferred, promise) = unsafe { Deferred::new(env) }?;
                if let Poll::Ready(batch) = polled {
                    unsafe { deferred.resolve(env, self.value(env, batch, hand_over)) };
                } else {
                    self.port.hold(env);
                    let kept = self.port.keep(self);
                    *self.waiting() = Some(Waiting {
                        deferred,
                        kept,
                        hand_over,
                    });
                }
                Ok(promise)
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After a wake: settles the promise where there is something to settle it with.
    fn resume(self: &Arc<Self>, env: sys::napi_env) {
        self.posted.store(false, Ordering::Release);
        if self.waiting().is_none() {
            return;
        }
        if let Poll::Ready(batch) = self.poll()
            && let Some(Waiting {
                deferred,
                kept,
                hand_over,
            }) = self.waiting().take()
        {
            self.port.forget(kept);
            self.port.let_go(env);
            unsafe { deferred.resolve(env, self.value(env, batch, hand_over)) };
        }
    }

    /// # Safety
    /// On the thread of `env`, inside a call from Node.
    unsafe fn value(
        self: &Arc<Self>,
        env: sys::napi_env,
        batch: Option<Batch>,
        hand_over: bool,
    ) -> sys::napi_value {
        let Some(batch) = batch else {
            return unsafe { null(env) };
        };
        let last = batch.last;
        let text = unsafe { ascii(env, &kept::text(&self.port, batch)) };
        if !hand_over || last {
            return text;
        }
        let stream = NativeStream(Some(Arc::clone(self)));
        match unsafe { NativeStream::to_napi_value(env, stream) } {
            Ok(stream) => unsafe { pair(env, text, stream) },
            Err(_) => ptr::null_mut(),
        }
    }

    /// No more is wanted.
    fn close(&self) {
        self.ended.store(true, Ordering::Release);
        let mut batches = self.batches();
        batches.close();
        while batches.try_recv().is_ok() {}
    }
}

/// Weak twice over: the receiver inside the inbox stores this waker.
struct InboxWaker {
    inbox: Weak<Inbox>,
    port: Weak<Port>,
}

impl Wake for InboxWaker {
    fn wake(self: Arc<Self>) {
        if let (Some(inbox), Some(port)) = (self.inbox.upgrade(), self.port.upgrade())
            && !inbox.posted.swap(true, Ordering::AcqRel)
        {
            port.post(Box::new(move |env| inbox.resume(env)));
        }
    }
}

/// Batches of a run, as JSON text. Closed when it is collected.
#[napi]
pub struct NativeStream(Option<Arc<Inbox>>);

impl NativeStream {
    /// The stream of an inbox.
    pub const fn new(inbox: Arc<Inbox>) -> Self {
        Self(Some(inbox))
    }
}

#[napi]
impl NativeStream {
    /// The next batch where there is one, else a promise of it; null after the last.
    #[napi(
        catch_unwind,
        ts_return_type = "string | null | Promise<string | null>"
    )]
    pub fn next(&self, env: Env) -> Result<Made> {
        let env = env.raw();
        match &self.0 {
            Some(inbox) => inbox.next(env, false).map(Made),
            None => Ok(Made(unsafe { null(env) })),
        }
    }

    /// Ends the run: its statement is cancelled on the server. A second call does nothing.
    #[napi(catch_unwind)]
    pub fn close(&mut self) {
        if let Some(inbox) = self.0.take() {
            inbox.close();
        }
    }
}

impl Drop for NativeStream {
    fn drop(&mut self) {
        if let Some(inbox) = self.0.take() {
            inbox.close();
        }
    }
}
