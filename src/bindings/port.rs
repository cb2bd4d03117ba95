//! The way back to JavaScript: one threadsafe function per environment, which all its clients share,
//! and the futures that its JavaScript thread polls itself. One per client would pile up: Node
//! gives a function back only when asked to, and a client that was collected asks for nothing.
//!
//! A future of a short query is polled first where it was asked for, so that the statement is on
//! its way before the call returns; its waker posts the next poll here. After [`LOCAL_POLLS`] it
//! moves to the runtime's threads. Measured: this answers point queries in two thirds of the time
//! that a hand-over to another thread and back takes.
//!
//! Completions queue up and are settled together. The function is referenced, and so keeps the
//! process alive, just while a promise is pending.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    ffi::c_void,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    ptr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::FutureExt;
use napi::{Result, check_status, sys};

use super::inbox::Inbox;
use super::runtime;
use super::value::{Deferred, ascii};

type Job = Box<dyn FnOnce(sys::napi_env) + Send>;
type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Polls on the JavaScript thread before a future moves to the runtime.
const LOCAL_POLLS: u32 = 3;
/// Rounds of jobs in one call from Node; then the event loop gets its turn.
const ROUNDS: u32 = 8;

/// The way back to one environment's JavaScript thread.
pub struct Port(Mutex<State>);

thread_local! {
    /// The ports of this thread's environments: one, unless a realm of its own loaded the addon too.
    static PORTS: RefCell<HashMap<usize, Arc<Port>>> = RefCell::default();
}

struct State {
    /// Null once the environment is being torn down.
    function: sys::napi_threadsafe_function,
    jobs: Vec<Job>,
    scheduled: bool,
    tasks: HashMap<u64, LocalTask>,
    /// Inboxes that a promise waits for: nothing else may hold them.
    awaited: HashMap<u64, Arc<Inbox>>,
    /// The rows that JavaScript keeps, by their numbers.
    held: HashSet<u64>,
    next: u64,
    pending: usize,
}

// SAFETY: the function is made to be called from any thread, and is nulled, under the lock, before
// Node frees it.
unsafe impl Send for State {}

struct LocalTask {
    future: Task,
    polls: u32,
}

impl Port {
    /// The port of `env`, opened when it is first asked for.
    pub fn of(env: sys::napi_env) -> Result<Arc<Self>> {
        let known = PORTS.with_borrow(|ports| ports.get(&env.addr()).cloned());
        known.map_or_else(
            || {
                let port = Self::open(env)?;
                PORTS.with_borrow_mut(|ports| ports.insert(env.addr(), Arc::clone(&port)));
                Ok(port)
            },
            Ok,
        )
    }

    fn open(env: sys::napi_env) -> Result<Arc<Self>> {
        let port = Arc::new(Self(Mutex::new(State {
            function: ptr::null_mut(),
            jobs: Vec::new(),
            scheduled: false,
            tasks: HashMap::new(),
            awaited: HashMap::new(),
            held: HashSet::new(),
            next: 0,
            pending: 0,
        })));
        let name = unsafe { ascii(env, b"tamma-events") };
        let mut function = ptr::null_mut();
        // Each of these two owns one count of the port: `finalize` and `teardown` give them back.
        let context = Arc::into_raw(Arc::clone(&port)).cast_mut().cast::<c_void>();
        check_status!(unsafe {
            sys::napi_create_threadsafe_function(
                env,
                ptr::null_mut(),
                ptr::null_mut(),
                name,
                0,
                1,
                context,
                Some(finalize),
                context,
                Some(call_js),
                &raw mut function,
            )
        })?;
        unsafe { sys::napi_unref_threadsafe_function(env, function) };
        port.state().function = function;
        // Hooks run in reverse order: this one before Node frees the function.
        let own = Arc::into_raw(Arc::clone(&port)).cast_mut().cast::<c_void>();
        check_status!(unsafe { sys::napi_add_env_cleanup_hook(env, Some(teardown), own) })?;
        Ok(port)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a job on the JavaScript thread, soon. From any thread; dropped after teardown.
    pub fn post(&self, job: Job) {
        let mut state = self.state();
        if state.function.is_null() {
            return;
        }
        state.jobs.push(job);
        state.schedule();
    }

    /// Polls a future here and now, and later where it is best.
    pub fn spawn(self: &Arc<Self>, future: impl Future<Output = ()> + Send + 'static) {
        let id = {
            let mut state = self.state();
            state.next += 1;
            let id = state.next;
            state.tasks.insert(
                id,
                LocalTask {
                    future: Box::pin(future),
                    polls: 0,
                },
            );
            id
        };
        self.poll(id);
    }

    fn poll(self: &Arc<Self>, id: u64) {
        let Some(mut task) = self.state().tasks.remove(&id) else {
            return;
        };
        let Ok(runtime) = runtime::handle() else {
            return;
        };
        let waker = Waker::from(Arc::new(TaskWaker {
            port: Arc::downgrade(self),
            id,
            woken: AtomicBool::new(false),
        }));
        let _inside = runtime.enter();
        let polled = catch_unwind(AssertUnwindSafe(|| {
            task.future.as_mut().poll(&mut Context::from_waker(&waker))
        }));
        // A panic drops the future, and with it the sender that its reader waits for.
        if let Ok(Poll::Pending) = polled {
            task.polls += 1;
            if task.polls < LOCAL_POLLS {
                self.state().tasks.insert(id, task);
            } else {
                runtime.spawn(task.future);
            }
        }
    }

    /// Runs a future on the runtime; the promise resolves with its text, which is ASCII.
    pub fn promise(
        self: &Arc<Self>,
        env: sys::napi_env,
        future: impl Future<Output = Vec<u8>> + Send + 'static,
    ) -> Result<sys::napi_value> {
        self.hold(env);
        self.settle(env, future, true)
    }

    /// The same, but a process that waits for nothing else may end.
    pub fn promise_unheld(
        self: &Arc<Self>,
        env: sys::napi_env,
        future: impl Future<Output = Vec<u8>> + Send + 'static,
    ) -> Result<sys::napi_value> {
        self.settle(env, future, false)
    }

    fn settle(
        self: &Arc<Self>,
        env: sys::napi_env,
        future: impl Future<Output = Vec<u8>> + Send + 'static,
        held: bool,
    ) -> Result<sys::napi_value> {
        let (deferred, promise) = unsafe { Deferred::new(env) }?;
        let port = Arc::clone(self);
        runtime::handle()?.spawn(async move {
            let text = AssertUnwindSafe(future).catch_unwind().await;
            let text = text.unwrap_or_else(|_| PANICKED.to_vec());
            let back = Arc::clone(&port);
            port.post(Box::new(move |env| {
                if held {
                    back.let_go(env);
                }
                unsafe { deferred.resolve(env, ascii(env, &text)) };
            }));
        });
        Ok(promise)
    }

    /// One promise more is pending. On the JavaScript thread.
    pub fn hold(&self, env: sys::napi_env) {
        let mut state = self.state();
        state.pending += 1;
        if state.pending == 1 && !state.function.is_null() {
            unsafe { sys::napi_ref_threadsafe_function(env, state.function) };
        }
    }

    /// One promise fewer is pending. On the JavaScript thread.
    pub fn let_go(&self, env: sys::napi_env) {
        let mut state = self.state();
        state.pending = state.pending.saturating_sub(1);
        if state.pending == 0 && !state.function.is_null() {
            unsafe { sys::napi_unref_threadsafe_function(env, state.function) };
        }
    }

    /// Keeps an inbox while a promise waits for it.
    pub fn keep(&self, inbox: &Arc<Inbox>) -> u64 {
        let mut state = self.state();
        state.next += 1;
        let id = state.next;
        state.awaited.insert(id, Arc::clone(inbox));
        id
    }

    /// Ends [`Port::keep`].
    pub fn forget(&self, id: u64) {
        let kept = self.state().awaited.remove(&id);
        drop(kept);
    }

    /// Whether JavaScript keeps these rows.
    pub fn holds(&self, rows: u64) -> bool {
        self.state().held.contains(&rows)
    }

    /// It does from now on.
    pub fn hold_rows(&self, rows: u64) {
        self.state().held.insert(rows);
    }

    /// It does so no more.
    pub fn let_rows_go(&self, rows: u64) {
        self.state().held.remove(&rows);
    }

    /// The environment ends: nothing is called back any more, and what still runs goes on without
    /// it, to cancel on the server.
    fn close(&self) {
        let (function, jobs, tasks, awaited) = {
            let mut state = self.state();
            (
                std::mem::replace(&mut state.function, ptr::null_mut()),
                std::mem::take(&mut state.jobs),
                std::mem::take(&mut state.tasks),
                std::mem::take(&mut state.awaited),
            )
        };
        // Dropping the inboxes tells the futures that no one reads.
        drop((jobs, awaited));
        if let Ok(runtime) = runtime::handle() {
            for task in tasks.into_values() {
                runtime.spawn(task.future);
            }
        }
        if !function.is_null() {
            unsafe {
                sys::napi_release_threadsafe_function(
                    function,
                    sys::ThreadsafeFunctionReleaseMode::release,
                )
            };
        }
    }
}

const PANICKED: &[u8] =
    br#"{"error":{"code":"DATABASE_ERROR","message":"internal error: a task of the core panicked","retryable":false}}"#;

impl State {
    fn schedule(&mut self) {
        if !self.scheduled {
            self.scheduled = true;
            unsafe {
                sys::napi_call_threadsafe_function(
                    self.function,
                    ptr::null_mut(),
                    sys::ThreadsafeFunctionCallMode::nonblocking,
                );
            }
        }
    }
}

struct TaskWaker {
    port: Weak<Port>,
    id: u64,
    woken: AtomicBool,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // One poll per waker: each poll makes a new one.
        if self.woken.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Some(port) = self.port.upgrade() {
            let (back, id) = (Arc::clone(&port), self.id);
            port.post(Box::new(move |_| back.poll(id)));
        }
    }
}

unsafe extern "C" fn call_js(
    env: sys::napi_env,
    _: sys::napi_value,
    context: *mut c_void,
    _: *mut c_void,
) {
    // SAFETY: `finalize` gives the count behind `context` back, after the last call.
    let port = unsafe { &*context.cast::<Port>() };
    for _ in 0..ROUNDS {
        let jobs = {
            let mut state = port.state();
            if state.jobs.is_empty() {
                state.scheduled = false;
                return;
            }
            std::mem::take(&mut state.jobs)
        };
        if env.is_null() {
            return;
        }
        for job in jobs {
            // A panic must not unwind into Node. What the job would have settled stays pending in
            // the worst case; the next job is not to blame.
            let _ = catch_unwind(AssertUnwindSafe(|| job(env)));
        }
    }
    let mut state = port.state();
    state.scheduled = false;
    if !state.jobs.is_empty() && !state.function.is_null() {
        state.schedule();
    }
}

unsafe extern "C" fn teardown(port: *mut c_void) {
    // SAFETY: the count that `open` gave to this hook.
    let port = unsafe { Arc::from_raw(port.cast_const().cast::<Port>()) };
    let _ = catch_unwind(AssertUnwindSafe(|| {
        PORTS.with_borrow_mut(|ports| ports.retain(|_, kept| !Arc::ptr_eq(kept, &port)));
        port.close();
    }));
}

unsafe extern "C" fn finalize(_: sys::napi_env, port: *mut c_void, _: *mut c_void) {
    // SAFETY: the count that `open` gave to the function.
    let port = unsafe { Arc::from_raw(port.cast_const().cast::<Port>()) };
    port.state().function = ptr::null_mut();
}
