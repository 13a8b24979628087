// Names for documents that have none yet, and for people who have not said who they are.
const QUIET = ['amber', 'brisk', 'calm', 'clear', 'early', 'gentle', 'green', 'hidden', 'late', 'mossy', 'quiet', 'silver', 'soft', 'still', 'sunny', 'wild']
const TREES = ['alder', 'ash', 'aspen', 'beech', 'birch', 'cedar', 'elm', 'fir', 'hazel', 'larch', 'linden', 'maple', 'oak', 'rowan', 'spruce', 'willow']
const ANIMALS = ['Badger', 'Crane', 'Dormouse', 'Falcon', 'Fox', 'Hare', 'Heron', 'Ibex', 'Lynx', 'Marten', 'Otter', 'Owl', 'Robin', 'Stoat', 'Swift', 'Wren']

const pick = (list) => list[Math.floor(Math.random() * list.length)]

export const someDocument = () => `${pick(QUIET)}-${pick(TREES)}-${Math.floor(Math.random() * 900 + 100)}`

export const somebody = () => pick(ANIMALS)

/** The document that the address asks for (`#name` or `?doc=name`); a new one gets a name, which goes into the address. */
export const documentName = () => {
  const asked = new URLSearchParams(location.search).get('doc')
  if (asked) return asked
  const hash = location.hash.slice(1)
  if (hash) {
    try {
      return decodeURIComponent(hash)
    } catch {
      return hash
    }
  }
  const name = someDocument()
  history.replaceState(null, '', `#${name}`)
  return name
}
