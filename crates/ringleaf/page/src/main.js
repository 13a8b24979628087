// Wires the page together.
import { documentName } from './names.js'
import { load } from './me.js'
import { openEditor } from './editor.js'
import { showOwner } from './owner.js'
import { Session } from './session.js'
import { showPeople } from './people.js'
import { showStatus } from './status.js'
import './style.css'

const element = (id) => document.getElementById(id)

const name = documentName()
document.title = `${name} · ringleaf`
element('document-name').textContent = name
element('document-name').title = name

const session = new Session(name)
const view = openEditor(element('editor'), session)
showPeople(element('people'), session, load(), view)
showStatus(session)

let toastEnds
const toast = (text) => {
  clearTimeout(toastEnds)
  element('toast').textContent = text
  element('toast').classList.add('shown')
  toastEnds = setTimeout(() => element('toast').classList.remove('shown'), 2500)
}

showOwner(element('owner'), element('move'), name, toast)

element('copy-link').addEventListener('click', async () => {
  try {
    await navigator.clipboard.writeText(location.href)
    toast('Link copied')
  } catch {
    // Not allowed, or not a secure page: the address bar has it.
    toast(`The link: ${location.href}`)
  }
})

element('second-window').addEventListener('click', () => open(location.href, '_blank', 'popup,width=820,height=760'))

// Another name in the address is another document.
addEventListener('hashchange', () => location.reload())
