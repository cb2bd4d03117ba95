'use strict'

// Static `exports.x =` lines: Node's ES module loader reads the names off them.
const { connect } = require('./lib/client.js')
const { EventsError } = require('./lib/errors.js')
const { indexSets } = require('./lib/index-sets.js')

exports.connect = connect
exports.EventsError = EventsError
exports.indexSets = indexSets
