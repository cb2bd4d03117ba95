//! Tables that queries name, as the catalog has them.

use std::sync::Arc;

use sqlx::PgConnection;

use super::catalog::look_up;
use super::engine::Engine;
use super::fault::fault;
use crate::model::{Result, catalog::Catalog};

impl Engine {
    /// Looks up those of the tables that are not known yet.
    ///
    /// # Errors
    /// Why the server could not say.
    pub async fn learn(&self, driver: &mut PgConnection, names: &[String]) -> Result<()> {
        for name in names {
            let known = self.catalog();
            if known.is_events(name) || known.tables.contains_key(name) {
                continue;
            }
            let found = look_up(driver, name).await.map_err(fault)?;
            self.change_catalog(|catalog| {
                catalog.tables.insert(name.clone(), found.map(Arc::new));
            });
        }
        Ok(())
    }

    /// Forgets tables that may have changed, and that there are some of which there were none.
    pub fn forget_tables(&self, names: &[String]) {
        if names.iter().any(|name| !self.catalog().is_events(name)) {
            self.change_catalog(|catalog: &mut Catalog| {
                catalog.tables.retain(|name, _| !names.contains(name));
            });
        }
    }
}
