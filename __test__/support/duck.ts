// DuckDB, as a reader of files that has nothing to do with this package.
import { DuckDBInstance } from '@duckdb/node-api'

export async function duck(sql: string) {
  const instance = await DuckDBInstance.create(':memory:')
  const connection = await instance.connect()
  try {
    const reader = await connection.runAndReadAll(sql)
    return reader.getRowObjects() as Record<string, unknown>[]
  } finally {
    connection.closeSync()
    instance.closeSync()
  }
}
