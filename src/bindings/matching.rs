//! The matchers alone, for the benchmarks.

use napi::{Env, Result};
use napi_derive::napi;

use super::answer::promised;
use super::client::NativeClient;
use super::value::Made;
use crate::analytics::matching::measure;

#[napi]
impl NativeClient {
    /// Finds the matches of a query among so many events made in memory, in so many partitions.
    /// Resolves with how many there were and how long it took.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn measure_matching(
        &self,
        env: Env,
        query: String,
        events: u32,
        partitions: u32,
        bits: u32,
    ) -> Result<Made> {
        let (_, port) = self.parts();
        promised(&port, env, async move {
            measure(&query, events, partitions, bits.into())
        })
    }
}
