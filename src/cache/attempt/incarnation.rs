//! The nonce that a crash took, made anew by whoever finds it gone.

use super::Cached;
use crate::cache::stamp::Refusal;
use crate::cache::store;
use crate::exec::{Connection, Frame, Stop, spares_connection, sql_text};

impl Cached {
    /// Notes whether what was read can be kept. Where only the nonce is missing, the next answer can be.
    pub async fn note(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        refusal: Option<Refusal>,
    ) -> Result<(), Stop> {
        let renewed = refusal == Some(Refusal::NoNonce) && self.renew(frame, connection).await?;
        self.cache.note_exactness(refusal.filter(|_| !renewed));
        Ok(())
    }

    /// Whether there is a nonce now. A role that may write nothing, or a table of an older version, leaves
    /// it to `migrate()`.
    async fn renew(&self, frame: &Frame<'_>, connection: &mut Connection) -> Result<bool, Stop> {
        let sql = store::renew_incarnation(&frame.engine.target().table);
        let renewed = sqlx::query(sql_text(&sql))
            .persistent(false)
            .execute(&mut connection.driver);
        match renewed.await {
            Ok(_) => Ok(true),
            Err(error) if spares_connection(&error) => {
                tracing::warn!(%error, "no nonce since a crash, and none could be made");
                Ok(false)
            }
            Err(error) => Err(Stop::Driver(error)),
        }
    }
}
