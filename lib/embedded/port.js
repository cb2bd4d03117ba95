'use strict'

/** TCP ports of 127.0.0.1. */

const net = require('node:net')

/** @returns {Promise<number>} a port that is free now */
function freePort() {
  return new Promise((resolve, reject) => {
    const server = net.createServer().on('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

/** SSLRequest: what every server answers with one byte, before anyone signs in. */
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f])

/**
 * Whether a PostgreSQL server answers.
 * @param {number} port
 * @returns {Promise<boolean>}
 */
function answers(port) {
  return new Promise(resolve => {
    const socket = net.connect({ port, host: '127.0.0.1', timeout: 2000 }, () => socket.write(SSL_REQUEST))
    const end = answer => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('data', () => end(true))
    for (const event of ['error', 'end', 'close', 'timeout']) socket.once(event, () => end(false))
  })
}

module.exports = { freePort, answers }
