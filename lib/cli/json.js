'use strict'

/**
 * @param {AsyncIterable<readonly unknown[]>} batches
 * @param {{ out: import('./output.js').Output }} io
 * @returns {Promise<number>} how many rows
 */
async function writeNdjson(batches, { out }) {
  let rows = 0
  for await (const batch of batches) {
    if (batch.length === 0) continue
    rows += batch.length
    await out.write(`${batch.map(row => encode(row, out)).join('\n')}\n`)
  }
  return rows
}

/** One array, written as the rows come. */
async function writeJson(batches, { out }) {
  let rows = 0
  for await (const batch of batches) {
    if (batch.length === 0) continue
    await out.write(`${rows === 0 ? '[\n' : ',\n'}${batch.map(row => encode(row, out)).join(',\n')}`)
    rows += batch.length
  }
  await out.line(rows === 0 ? '[]' : '\n]')
  return rows
}

/** JSON leaves DEL and the C1 controls as they are, and some terminals obey them. */
function encode(row, { isTTY }) {
  const json = JSON.stringify(row)
  return isTTY ? json.replace(/[\x7f-\x9f]/g, character => `\\u00${character.charCodeAt(0).toString(16)}`) : json
}

module.exports = { writeJson, writeNdjson }
