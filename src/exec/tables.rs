//! Tables that queries name, as the catalog has them.

use std::sync::Arc;

use sqlx::PgConnection;

use super::catalog::look_up;
use super::engine::Engine;
use crate::model::catalog::Catalog;

impl Engine {
    /// What is known of tables, with these among them: those that are not known yet are looked up.
    ///
    /// The answer stands for one query, whatever others learn or forget meanwhile. That a table is
    /// missing stands in it alone: by the next query it may be there.
    ///
    /// # Errors
    /// Why the server could not say.
    pub async fn learn(
        &self,
        driver: &mut PgConnection,
        names: &[String],
    ) -> Result<Arc<Catalog>, sqlx::Error> {
        let mut known = self.catalog();
        for name in names {
            if known.tables.contains_key(name) {
                continue;
            }
            let found = look_up(driver, name).await?.map(Arc::new);
            if found.is_some() {
                self.change_catalog(|catalog| {
                    catalog.tables.insert(name.clone(), found.clone());
                });
            }
            Arc::make_mut(&mut known).tables.insert(name.clone(), found);
        }
        Ok(known)
    }

    /// Forgets tables that may have changed.
    pub fn forget_tables(&self, names: &[String]) {
        self.change_catalog(|catalog| catalog.tables.retain(|name, _| !names.contains(name)));
    }
}
