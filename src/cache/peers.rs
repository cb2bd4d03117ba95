//! Telling other processes what was forgotten by hand, and hearing it from them: PostgreSQL's NOTIFY.
//!
//! A message that is missed would leave a bounded answer in place that somebody wanted gone. So nothing is
//! kept before this process listens, or could not; and where the connection was lost, all that was kept
//! until it is back is forgotten. Behind a pooler that does not pass notifications on nothing is heard:
//! whoever listens first says something to itself, and waits for it.
//!
//! Who releases what: the listening connection belongs to a task, which ends when the client is closed,
//! or some seconds after the cache is gone.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::{Value as Wire, json};
use sqlx::{
    PgPool,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::{
    runtime::Handle,
    sync::watch,
    time::{sleep, timeout},
};
use uuid::Uuid;

use super::scope::Scope;
use super::stats::Counter;
use super::{Cache, store};
use crate::exec::Engine;

/// How long the first answer waits until this process listens.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long nothing may be heard before it is asked whether anything still can be.
const SILENCE: Duration = Duration::from_secs(20);
/// How often it is looked whether the cache is still there.
const LOOK: Duration = Duration::from_secs(5);
/// The pause before listening is tried again, and the longest.
const SOON: Duration = Duration::from_millis(200);
const RARELY: Duration = Duration::from_mins(1);
/// The longest that telling takes somebody who waits for it, and saying goodbye.
const TELLING: Duration = Duration::from_secs(5);
const GOODBYE: Duration = Duration::from_secs(1);
/// Messages that wait until they can be told; then all is forgotten instead.
const MOST_UNTOLD: usize = 1000;
/// A longer message is no payload of NOTIFY.
const LONGEST: usize = 7900;

/// The other processes.
pub struct Peers {
    engine: Weak<Engine>,
    /// Results are kept by hand from threads outside of it.
    runtime: Handle,
    /// What this process is called among them.
    own: Uuid,
    started: AtomicBool,
    state: watch::Sender<State>,
    untold: Mutex<Vec<Scope>>,
    telling: tokio::sync::Mutex<()>,
    received: Counter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not tried yet.
    Unknown,
    Listening,
    /// What is said is not heard.
    Deaf,
    Closed,
}

impl Peers {
    /// Those of a client. Nothing is heard from them yet. Needs a tokio runtime around it.
    pub fn new(engine: &Arc<Engine>) -> Arc<Self> {
        Arc::new(Self {
            engine: Arc::downgrade(engine),
            runtime: Handle::current(),
            own: Uuid::new_v4(),
            started: AtomicBool::new(false),
            state: watch::Sender::new(State::Unknown),
            untold: Mutex::default(),
            telling: tokio::sync::Mutex::default(),
            received: Counter::default(),
        })
    }

    /// Begins to listen, the first time.
    pub fn listen(self: &Arc<Self>, cache: &Arc<Cache>) {
        if !self.started.swap(true, Ordering::AcqRel) {
            (self.runtime).spawn(keep_listening(Arc::clone(self), Arc::downgrade(cache)));
        }
    }

    /// Waits until this process listens, or can't.
    pub async fn ready(self: &Arc<Self>, cache: &Arc<Cache>) {
        if *self.state.borrow() != State::Unknown {
            return;
        }
        self.listen(cache);
        let mut state = self.state.subscribe();
        let known = state.wait_for(|state| *state != State::Unknown);
        // Where that takes too long, what is kept until then is forgotten once it is known.
        if timeout(PATIENCE, known).await.is_err() {
            self.turn(State::Deaf);
        }
    }

    /// Tells the others, and the table: now, or as soon as the server can be reached.
    pub async fn tell(&self, scope: Scope) {
        {
            let mut untold = self.untold();
            if untold.len() >= MOST_UNTOLD {
                untold.clear();
            }
            untold.push(scope);
        }
        self.tell_on().await;
    }

    async fn tell_on(&self) {
        let Some(engine) = self.engine.upgrade() else {
            return;
        };
        let _telling = self.telling.lock().await;
        let scopes = mem::take(&mut *self.untold());
        if scopes.is_empty() || engine.pool.is_closed() {
            return;
        }
        let told = async {
            let mut driver = store::connect(&engine.config.server).await?;
            let table = &engine.target().table;
            let mut all = true;
            for scope in &scopes {
                // Before the others hear of it: they might take it up again.
                match store::forget(&mut driver, table, scope).await {
                    Err(sqlx::Error::Database(error)) => {
                        all &= error.code().is_some_and(|state| store::is_barred(&state));
                    }
                    outcome => outcome?,
                }
                store::notify(&mut driver, &self.message(scope)).await?;
            }
            store::close(driver).await;
            Ok::<_, sqlx::Error>(all)
        };
        if !matches!(timeout(TELLING, told).await, Ok(Ok(true))) {
            let mut untold = self.untold();
            let newer = mem::replace(&mut *untold, scopes);
            untold.extend(newer);
        }
    }

    fn message(&self, scope: &Scope) -> String {
        let message = json!({ "from": self.own.to_string(), "scope": scope.to_wire() }).to_string();
        if message.len() <= LONGEST {
            return message;
        }
        // Too much is forgotten rather than too little.
        json!({ "from": self.own.to_string(), "scope": Scope::Pattern("*".to_owned()).to_wire() })
            .to_string()
    }

    /// Stops listening.
    pub async fn close(&self) {
        self.turn(State::Closed);
        if self.started.load(Ordering::Acquire) {
            // The task holds a receiver until it has let go of its connection.
            let _ = timeout(GOODBYE * 2, self.state.closed()).await;
        }
    }

    /// The part of `CacheStats`.
    pub fn told(&self) -> Wire {
        json!({
            "listening": *self.state.borrow() == State::Listening,
            "received": self.received.get(),
            "untold": self.untold().len(),
        })
    }

    fn turn(&self, to: State) {
        self.state.send_if_modified(|state| {
            let changes = *state != State::Closed && *state != to;
            if changes {
                *state = to;
            }
            changes
        });
    }

    fn untold(&self) -> MutexGuard<'_, Vec<Scope>> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn keep_listening(peers: Arc<Peers>, cache: Weak<Cache>) {
    let mut state = peers.state.subscribe();
    let mut pause = SOON;
    loop {
        let Some(server) = (peers.engine.upgrade()).map(|engine| engine.config.server.clone())
        else {
            return;
        };
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(PATIENCE)
            .connect_lazy_with(server.application_name("tamma-events cache"));
        let mut heard = false;
        tokio::select! {
            _ = state.wait_for(|state| *state == State::Closed) => {}
            _ = hear(&peers, &cache, &pool, &mut heard) => {}
        }
        let _ = timeout(GOODBYE, pool.close()).await;
        peers.turn(State::Deaf);
        if *peers.state.borrow() == State::Closed || cache.strong_count() == 0 {
            return;
        }
        pause = if heard { SOON } else { (pause * 2).min(RARELY) };
        tokio::select! {
            _ = state.wait_for(|state| *state == State::Closed) => return,
            () = sleep(pause) => {}
        }
    }
}

/// Listens until the connection is lost, or the cache.
async fn hear(
    peers: &Arc<Peers>,
    cache: &Weak<Cache>,
    pool: &PgPool,
    heard: &mut bool,
) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.eager_reconnect(false);
    listener.listen(store::CHANNEL).await?;
    let probe = json!({ "probe": Uuid::new_v4().to_string() }).to_string();
    store::notify(&mut listener, &probe).await?;
    let (mut silent, mut asked) = (Duration::ZERO, true);
    loop {
        let patience = if *heard { LOOK } else { PATIENCE };
        let Ok(received) = timeout(patience, listener.try_recv()).await else {
            let Some(_cache) = cache.upgrade() else {
                return Ok(());
            };
            silent += patience;
            if asked && (silent >= SILENCE || !*heard) {
                return Ok(());
            }
            if silent >= SILENCE {
                (silent, asked) = (Duration::ZERO, true);
                store::notify(&mut listener, &probe).await?;
            }
            if !peers.untold().is_empty() {
                peers.tell_on().await;
            }
            continue;
        };
        let Some(message) = received? else {
            return Ok(());
        };
        let Some(cache) = cache.upgrade() else {
            return Ok(());
        };
        silent = Duration::ZERO;
        if message.payload() == probe {
            asked = false;
            if !mem::replace(heard, true) {
                // What was kept while nothing was heard.
                if *peers.state.borrow() == State::Deaf {
                    cache.forget_all();
                }
                peers.turn(State::Listening);
            }
            continue;
        }
        let told: Wire = serde_json::from_str(message.payload()).unwrap_or_default();
        if let Some(scope) = Scope::read(&told["scope"])
            && told["from"] != peers.own.to_string()
        {
            peers.received.add(1);
            cache.apply(&scope);
        }
    }
}
