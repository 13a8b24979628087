// Who we are: a name and one of eight hues, remembered by this browser.
import { somebody } from './names.js'

/** For other editors than this page, which know colors only. The style sheet has the hues, for light and dark. */
export const HUES = ['#2f8f5b', '#2a7fb8', '#7a5bd0', '#c2478f', '#cf4b3c', '#c27a12', '#7f8f1f', '#15908c']
export const HUE_NAMES = ['leaf', 'water', 'violet', 'clover', 'brick', 'honey', 'moss', 'lake']

const KEY = 'ringleaf.me'

export const load = () => {
  try {
    const me = JSON.parse(localStorage.getItem(KEY))
    if (typeof me.name === 'string' && me.hue in HUES) return me
  } catch {
    // Nothing remembered, or nothing may be.
  }
  return { name: somebody(), hue: Math.floor(Math.random() * HUES.length) }
}

export const remember = (me) => {
  try {
    localStorage.setItem(KEY, JSON.stringify(me))
  } catch {
    // A private window: then it is for this visit.
  }
}

export const asUser = ({ name, hue }) => ({ name, hue, color: HUES[hue], colorLight: `${HUES[hue]}33` })

/** The hue of someone else, who may use another editor: then by their id. */
export const hueOf = (clientId, user) => (Number.isInteger(user?.hue) && user.hue in HUES ? user.hue : clientId % HUES.length)

export const nameOf = (user) => (typeof user?.name === 'string' && user.name.trim() !== '' ? user.name.slice(0, 32) : 'Someone')
