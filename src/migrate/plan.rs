//! What is left to do, from what the catalogs and the record say.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;

use super::{
    MigrateOptions, MigrateReport,
    catalog::{self, Relation, Server, Sibling},
    error::MigrateError,
    fitness,
    templates::{self, EVENTS, Kind, Numbered, Origin, Setting},
};
use crate::model::table::TableNames;

/// The triggers of `state/guards.sql`.
const GUARDS: [&str; 3] = [
    "zzz_tamma_guard_insert",
    "zzz_tamma_guard_update",
    "tamma_2_log_rotation",
];
/// The triggers of `state/immutable_on.sql`.
const REFUSALS: [&str; 2] = ["tamma_1_refuse_change", "tamma_1_refuse_truncate"];

/// What is there, fit to go on from, and what is missing.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) server: Server,
    pub(super) relation: Option<Relation>,
    pub(super) origin: Origin,
    /// Versions of numbered migrations to be applied.
    pub(super) pending: BTreeSet<i64>,
    pub(super) settings: Vec<Setting>,
    /// Whether the tables of migration 3 are there, recorded or not.
    pub(super) query_tables_exist: bool,
}

/// What the database says.
struct State {
    server: Server,
    relation: Option<Relation>,
    siblings: Vec<Sibling>,
    /// Checksums by version.
    applied: BTreeMap<i64, Vec<u8>>,
    has_nonce: bool,
}

impl State {
    async fn read(conn: &mut PgConnection, names: &TableNames) -> Result<Self, MigrateError> {
        const STEP: &str = "reading the schema as it is";
        let server = catalog::server(conn, &names.schema)
            .await
            .map_err(|source| MigrateError::Database {
                step: STEP.to_owned(),
                source,
            })?;
        // What follows may not be understood by another server.
        if let Some(reason) = fitness::of_server(&server) {
            return Err(MigrateError::Unsupported(reason));
        }
        let fail = |e| MigrateError::database(STEP, &server.role, e);
        let relation = catalog::relation(conn, names).await.map_err(fail)?;
        let own = fitness::own_tables(names);
        let wanted: Vec<String> = own
            .iter()
            .map(|table| table.name.clone())
            .chain(index_names(names))
            .collect();
        let siblings = catalog::siblings(conn, &names.schema, &wanted)
            .await
            .map_err(fail)?;
        // Only what has the right shape can be read.
        let fit = |name: &str| {
            own.iter()
                .find(|table| table.name == name)
                .zip(siblings.iter().find(|s| s.name == name))
                .is_some_and(|(table, sibling)| table.objection(sibling).is_none())
        };
        let applied = if fit(&templates::record_name(names)) {
            catalog::applied(conn, names).await.map_err(fail)?
        } else {
            BTreeMap::new()
        };
        let has_nonce = fit(&names.incarnation_name())
            && catalog::has_nonce(conn, names).await.map_err(fail)?;
        Ok(Self {
            server,
            relation,
            siblings,
            applied,
            has_nonce,
        })
    }

    fn sibling(&self, name: &str) -> Option<&Sibling> {
        self.siblings.iter().find(|s| s.name == name)
    }

    fn is_applied(&self, version: i64) -> bool {
        self.applied.contains_key(&version)
    }

    /// How the table came to be, or will.
    fn origin(&self, names: &TableNames) -> Result<Origin, MigrateError> {
        match self.applied.get(&EVENTS) {
            Some(checksum) => Origin::of_checksum(checksum).ok_or_else(|| MigrateError::Edited {
                table: names.quoted(),
                version: EVENTS,
            }),
            None if self.relation.is_some() => Ok(Origin::Adopted),
            None => Ok(Origin::Created),
        }
    }

    /// Which migrations are not recorded.
    fn pending(&self, origin: Origin, names: &TableNames) -> Result<BTreeSet<i64>, MigrateError> {
        let mut pending = BTreeSet::new();
        let mut unknown = self.applied.clone();
        for numbered in templates::numbered(origin) {
            let version = numbered.version;
            match unknown.remove(&version) {
                Some(checksum) if checksum != *numbered.checksum() => {
                    return Err(MigrateError::Edited {
                        table: names.quoted(),
                        version,
                    });
                }
                Some(_) => {}
                None => {
                    pending.insert(version);
                }
            }
        }
        match unknown.into_keys().next() {
            Some(version) => Err(MigrateError::Newer {
                table: names.quoted(),
                version,
            }),
            None => Ok(pending),
        }
    }

    /// Everything that stands in the way.
    fn reasons(&self, names: &TableNames) -> Vec<String> {
        let record = templates::record_name(names);
        let mut reasons = Vec::new();
        match &self.relation {
            Some(relation) => reasons.extend(fitness::of_relation(
                relation,
                names,
                &self.server,
                self.is_applied(EVENTS),
            )),
            None if self.is_applied(EVENTS) => reasons.push(format!(
                "it is gone, though {record:?} says that it was migrated: restore it, or drop {record:?} to begin anew"
            )),
            None => {}
        }
        for table in fitness::own_tables(names) {
            match self.sibling(&table.name) {
                Some(sibling) => reasons.extend(table.objection(sibling)),
                None if table.version.is_some_and(|v| self.is_applied(v)) => reasons.push(format!(
                    "table {:?} is gone, though {record:?} says that it was created: restore it, or drop {record:?} to go through the migrations again",
                    table.name
                )),
                None => {}
            }
        }
        let table = self.relation.as_ref().map(|r| r.oid);
        for name in index_names(names) {
            if self
                .sibling(&name)
                .is_some_and(|s| s.indexed.is_none() || s.indexed != table)
            {
                reasons.push(format!(
                    "{name:?}, a name this module needs for an index, is taken by something else: rename it"
                ));
            }
        }
        reasons
    }
}

impl Plan {
    /// Reads the database and checks that it is fit.
    pub(super) async fn read(
        conn: &mut PgConnection,
        options: &MigrateOptions,
    ) -> Result<Self, MigrateError> {
        let names = &options.table;
        let state = State::read(conn, names).await?;
        let origin = state.origin(names)?;
        let pending = state.pending(origin, names)?;
        let reasons = state.reasons(names);
        if !reasons.is_empty() {
            return Err(MigrateError::NotAdoptable {
                table: names.quoted(),
                reasons,
            });
        }
        let immutable = options.immutable.unwrap_or(origin == Origin::Created);
        Ok(Self {
            settings: settings(state.relation.as_ref(), immutable, state.has_nonce),
            query_tables_exist: fitness::QUERY_TABLES
                .iter()
                .all(|table| state.sibling(table).is_some()),
            server: state.server,
            relation: state.relation,
            origin,
            pending,
        })
    }

    pub(super) fn is_done(&self) -> bool {
        self.pending.is_empty() && self.settings.is_empty()
    }

    /// What was done before.
    pub(super) fn report(&self) -> MigrateReport {
        MigrateReport {
            applied: Vec::new(),
            already_applied: templates::numbered(self.origin)
                .filter(|numbered| !self.pending.contains(&numbered.version))
                .map(Numbered::title)
                .collect(),
        }
    }

    /// The table's owner, where that is not the role itself.
    pub(super) fn owner_to_become(&self) -> Result<Option<String>, MigrateError> {
        match &self.relation {
            Some(relation) if !relation.may_act_as_owner => Err(MigrateError::NotPermitted {
                role: self.server.role.clone(),
                action: format!(
                    "change the event table, which belongs to {0}: migrate as {0} or as a member of it",
                    relation.owner
                ),
                source: None,
            }),
            Some(relation) if relation.owner != self.server.role => {
                Ok(Some(relation.owner.clone()))
            }
            _ => Ok(None),
        }
    }

    /// Whether the role may create what is missing.
    pub(super) fn check_privileges(&self, names: &TableNames) -> Result<(), MigrateError> {
        if self.pending.is_empty() || self.server.may_create {
            return Ok(());
        }
        let action = if self.server.schema_exists {
            format!(
                "create tables in schema {:?}: GRANT CREATE ON SCHEMA",
                names.schema
            )
        } else {
            format!("create schema {:?}: GRANT CREATE ON DATABASE", names.schema)
        };
        Err(MigrateError::NotPermitted {
            role: self.server.role.clone(),
            action,
            source: None,
        })
    }
}

fn index_names(names: &TableNames) -> impl Iterator<Item = String> {
    templates::numbered(Origin::Created).filter_map(|numbered| match numbered.kind {
        Kind::Index { suffix } => Some(names.derived("idx_", suffix)),
        Kind::Script => None,
    })
}

fn settings(relation: Option<&Relation>, immutable: bool, has_nonce: bool) -> Vec<Setting> {
    let enabled = |name: &str| {
        relation
            .and_then(|r| r.triggers.get(name))
            .map(String::as_str)
    };
    let mut settings = Vec::new();
    if !GUARDS.iter().all(|name| enabled(name) == Some("A")) {
        settings.push(Setting::Guards);
    }
    let refuses = |name| enabled(name).is_some_and(|state| state != "D");
    if immutable && !REFUSALS.into_iter().all(refuses) {
        settings.push(Setting::ImmutableOn);
    } else if !immutable && REFUSALS.iter().any(|name| enabled(name).is_some()) {
        settings.push(Setting::ImmutableOff);
    }
    if !has_nonce {
        settings.push(Setting::Nonce);
    }
    settings
}
