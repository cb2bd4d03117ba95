'use strict'

/** Pipelines as the core takes them. */

const { encodeQuery } = require('../wire.js')
const { invalid } = require('./arguments.js')

/** Stages as JSON text, checked for what JSON cannot say. */
function encodeStages(stages) {
  if (!Array.isArray(stages)) throw invalid('stages', 'must be a list of stages')
  return JSON.stringify(ordered(JSON.parse(encodeQuery(stages, []))))
}

/** The members of `project` and `facet` name columns, whose order is kept as a list of pairs. */
function ordered(stages) {
  if (!Array.isArray(stages)) return stages
  return stages.map(stage => {
    if (!isObject(stage)) return stage
    if (isObject(stage.project)) return { ...stage, project: pairs(stage.project) }
    if (!isObject(stage.facet)) return stage
    return { ...stage, facet: pairs(stage.facet, ordered) }
  })
}

const isObject = value => value !== null && typeof value === 'object' && !Array.isArray(value)

function pairs(members, change = value => value) {
  const list = Object.entries(members).map(([name, value]) => [name, change(value)])
  return list.length === 0 ? members : list
}

module.exports = { encodeStages }
