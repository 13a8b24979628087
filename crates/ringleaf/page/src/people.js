// Who is here: avatars in the header, ourselves first, and the small form that changes how others see us.
import { EditorView } from '@codemirror/view'
import { asUser, HUE_NAMES, hueOf, nameOf, remember } from './me.js'
import { whereIs } from './cursors.js'

const SHOWN_MAX = 6

const initials = (name) => {
  const words = name.trim().split(/\s+/)
  const letters = words.length > 1 ? [words[0], words.at(-1)] : [words[0]]
  return letters.map((word) => [...word][0] ?? '?').join('').toUpperCase()
}

const avatar = (hue, name, title) => {
  const button = document.createElement('button')
  button.type = 'button'
  button.className = `avatar hue-${hue}`
  button.textContent = initials(name)
  button.title = title
  button.setAttribute('aria-label', title)
  const item = document.createElement('li')
  item.append(button)
  return { item, button }
}

export const showPeople = (list, session, me, view) => {
  const { awareness, text } = session
  const dialog = document.getElementById('me')
  const nameField = document.getElementById('my-name')
  const swatches = document.getElementById('swatches')

  const publish = () => awareness.setLocalStateField('user', asUser(me))

  HUE_NAMES.forEach((name, hue) => {
    const label = document.createElement('label')
    label.className = `swatch hue-${hue}`
    label.title = name
    const radio = document.createElement('input')
    Object.assign(radio, { type: 'radio', name: 'hue', value: hue, checked: hue === me.hue })
    radio.setAttribute('aria-label', name)
    radio.addEventListener('change', () => { me.hue = hue; publish() })
    label.append(radio)
    swatches.append(label)
  })
  nameField.addEventListener('input', () => {
    me.name = nameField.value.trim() || me.name
    publish()
  })
  dialog.addEventListener('close', () => { remember(me); view.focus() })
  dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close() })

  const goTo = (clientId) => {
    const place = whereIs(awareness.getStates().get(clientId), text)
    if (place !== null) view.dispatch({ effects: EditorView.scrollIntoView(place.head, { y: 'center' }) })
  }

  const render = () => {
    const others = [...awareness.getStates()].filter(([clientId, state]) => clientId !== awareness.clientID && state.user)
    others.sort(([one], [other]) => one - other)
    const mine = avatar(me.hue, me.name, `You are ${me.name}: change name and color`)
    mine.button.classList.add('mine')
    mine.button.addEventListener('click', () => { nameField.value = me.name; dialog.showModal(); nameField.select() })
    const items = [mine.item]
    for (const [clientId, { user }] of others.slice(0, SHOWN_MAX)) {
      const { item, button } = avatar(hueOf(clientId, user), nameOf(user), `${nameOf(user)} is here: show where`)
      button.addEventListener('click', () => goTo(clientId))
      items.push(item)
    }
    if (others.length > SHOWN_MAX) {
      const more = document.createElement('li')
      more.className = 'more'
      more.textContent = `+${others.length - SHOWN_MAX}`
      more.title = others.slice(SHOWN_MAX).map(([, { user }]) => nameOf(user)).join(', ')
      items.push(more)
    }
    // The focus must not be lost to somebody's arrival.
    const focused = list.contains(document.activeElement) ? [...list.querySelectorAll('button')].indexOf(document.activeElement) : -1
    list.replaceChildren(...items)
    list.querySelectorAll('button')[focused]?.focus()
  }

  let shown = ''
  awareness.on('change', () => {
    const now = JSON.stringify([...awareness.getStates()].map(([clientId, { user }]) => [clientId, user]))
    if (now === shown) return
    shown = now
    render()
  })
  publish()
  render()
}
