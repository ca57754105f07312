# SPDX-License-Identifier: LGPL-2.1-or-later
# fish completion of virt-forward.

# The words of the line that are neither options nor values of options, and the options that say
# which daemon: set in __vf_words and __vf_daemon.
function __vf_read_line
    set -g __vf_words
    set -g __vf_daemon
    set -l wants
    for word in (commandline -opc)[2..-1]
        if test -n "$wants"
            contains -- $wants --connect -c --address; and set -a __vf_daemon $wants $word
            set wants
            continue
        end
        switch $word
            case '--connect=*' '--address=*'
                set -a __vf_daemon $word
            case --connect -c --address --color --name --label --host-address --guest-address \
                --protocol --transport --offload --on-busy --scheme --proxy-protocol \
                --idle-timeout --max-connections --timeout --metadata --listener --format
                set wants $word
            case '-*'
            case '*'
                set -a __vf_words $word
        end
    end
end

function __vf_verb
    __vf_read_line
    contains -- "$__vf_words[1]" $argv
end

# __vf_at VERB LEAST MOST: so many words stand behind the verb.
function __vf_at
    __vf_read_line
    set -l behind (math (count $__vf_words) - 1)
    test "$__vf_words[1]" = $argv[1] -a $behind -ge $argv[2] -a $behind -le $argv[3]
end

function __vf_domains
    __vf_read_line
    virt-forward $__vf_daemon __complete domains 2>/dev/null
end

function __vf_forwards
    __vf_read_line
    virt-forward $__vf_daemon __complete forwards $__vf_words[2] 2>/dev/null
end

function __vf_ports
    __vf_read_line
    virt-forward $__vf_daemon __complete ports $__vf_words[2] 2>/dev/null
end

complete -c virt-forward -f
complete -c virt-forward -l json -d 'Print JSON'
complete -c virt-forward -s c -l connect -x -a 'qemu:///system qemu:///session' -d 'The daemon of this libvirt connection'
complete -c virt-forward -l address -x -d 'The daemon at this D-Bus address'
complete -c virt-forward -l color -x -a 'auto always never' -d Colour
complete -c virt-forward -s h -l help -d 'Show help'
complete -c virt-forward -n '__vf_verb ""' -s V -l version -d 'Print the version'
complete -c virt-forward -n '__vf_verb ""' -a add -d 'Forward a port of the host to a port of a guest'
complete -c virt-forward -n '__vf_verb ""' -a remove -d 'Remove forwards and end their connections'
complete -c virt-forward -n '__vf_verb ""' -a enable -d 'Serve forwards that are disabled'
complete -c virt-forward -n '__vf_verb ""' -a disable -d 'Stop serving forwards, and keep their definitions'
complete -c virt-forward -n '__vf_verb ""' -a list -d 'Show forwards, their URLs and their states'
complete -c virt-forward -n '__vf_verb ""' -a url -d 'Print the URL of a forward'
complete -c virt-forward -n '__vf_verb ""' -a watch -d 'Follow forwards as they come, change and go'
complete -c virt-forward -n '__vf_verb ""' -a auto -d 'Show or switch the forwarding of ports that a guest opens'
complete -c virt-forward -n '__vf_verb ""' -a block -d 'Never forward a port that the guest opens'
complete -c virt-forward -n '__vf_verb ""' -a unblock -d 'Undo a block'
complete -c virt-forward -n '__vf_verb ""' -a allow -d 'Forward a port that a rule asks about'
complete -c virt-forward -n '__vf_verb ""' -a explain -d 'Say why a port or a forward is as it is, or try rules'
complete -c virt-forward -n '__vf_verb ""' -a import -d 'Add the forwards of a file, all of them or none'
complete -c virt-forward -n '__vf_verb ""' -a export -d 'Write forwards as import takes them'
complete -c virt-forward -n '__vf_verb ""' -a doctor -d 'Find what is wrong and how to mend it'

complete -c virt-forward -n '__vf_at add 0 0; or __vf_at remove 0 0; or __vf_at enable 0 0; or __vf_at disable 0 0; or __vf_at url 0 0; or __vf_at explain 0 0; or __vf_at doctor 0 0; or __vf_at auto 0 0; or __vf_at block 0 0; or __vf_at unblock 0 0; or __vf_at allow 0 0; or __vf_at import 0 0; or __vf_at export 0 0; or __vf_verb list watch' -a '(__vf_domains)'
complete -c virt-forward -n '__vf_at remove 1 99; or __vf_at enable 1 99; or __vf_at disable 1 99; or __vf_at url 1 1; or __vf_at explain 1 1' -a '(__vf_forwards)'
complete -c virt-forward -n '__vf_at auto 1 1' -a 'on off policy'
complete -c virt-forward -n '__vf_at block 1 1; or __vf_at unblock 1 1; or __vf_at allow 1 1' -a '(__vf_ports)'

complete -c virt-forward -n '__vf_verb add remove enable disable auto block unblock allow' -l live -d 'Edit the running domain'
complete -c virt-forward -n '__vf_verb add remove enable disable auto block unblock allow' -l config -d 'Edit what the next start brings'
complete -c virt-forward -n '__vf_verb add remove enable disable auto block unblock allow' -l persistent -d 'Edit both'
complete -c virt-forward -n '__vf_at import 1 1' -F
complete -c virt-forward -n '__vf_verb import' -l live -d 'Edit the running domain'
complete -c virt-forward -n '__vf_verb import' -l config -d 'Edit what the next start brings'
complete -c virt-forward -n '__vf_verb import' -l persistent -d 'Edit both'
complete -c virt-forward -n '__vf_verb import' -l dry-run -d 'Print what would be added'
complete -c virt-forward -n '__vf_verb export' -l format -x -a 'list json xml' -d Format
complete -c virt-forward -n '__vf_verb export' -l live -d 'Of the running domain'
complete -c virt-forward -n '__vf_verb export' -l config -d 'Of what the next start brings'
complete -c virt-forward -n '__vf_verb add' -l name -x -d 'Identity of the forward'
complete -c virt-forward -n '__vf_verb add' -l label -x -d 'Text for people'
complete -c virt-forward -n '__vf_verb add' -l host-address -x -d 'Listen there'
complete -c virt-forward -n '__vf_verb add' -l guest-address -x -d 'Connect to it'
complete -c virt-forward -n '__vf_verb add' -l protocol -x -a 'tcp udp' -d Protocol
complete -c virt-forward -n '__vf_verb add' -l transport -x -a 'auto tcp vsock ssh usernet' -d 'How to reach the guest'
complete -c virt-forward -n '__vf_verb add' -l offload -x -a 'auto none redirect nftables' -d 'Short-cut in the kernel'
complete -c virt-forward -n '__vf_verb add' -l on-busy -x -a 'next any fail' -d 'If the host port is taken'
complete -c virt-forward -n '__vf_verb add' -l scheme -x -a 'http https' -d 'Scheme of its URL'
complete -c virt-forward -n '__vf_verb add' -l proxy-protocol -x -a 'none v2' -d 'Tell the service who connects'
complete -c virt-forward -n '__vf_verb add' -l idle-timeout -x -d 'End idle connections'
complete -c virt-forward -n '__vf_verb add' -l max-connections -x -d 'Refuse connections past this number'
complete -c virt-forward -n '__vf_verb add' -l required -d 'Refuse to start the domain without it'
complete -c virt-forward -n '__vf_verb add' -l disabled -d 'Define it only'
complete -c virt-forward -n '__vf_verb add' -s n -l dry-run -d 'Only print the port that it would get'
complete -c virt-forward -n '__vf_verb add' -l wait -d 'Wait until the guest can be reached'
complete -c virt-forward -n '__vf_verb add' -l timeout -x -d 'Give up waiting'
complete -c virt-forward -n '__vf_verb remove' -l all -d 'Remove every forward'
complete -c virt-forward -n '__vf_verb remove' -l drain -d 'Let connections end by themselves'
complete -c virt-forward -n '__vf_verb list watch' -s a -l all -d 'Also stopped domains'
complete -c virt-forward -n '__vf_verb url' -l copy -d 'Copy it to the clipboard'
complete -c virt-forward -n '__vf_verb url' -l open -d 'Open it'
complete -c virt-forward -n '__vf_verb allow' -l process -d 'Always, for this process'
complete -c virt-forward -n '__vf_verb allow' -l undo -d 'Take the answer back'
complete -c virt-forward -n '__vf_verb explain' -l metadata -r -F -d 'Rules, or - for standard input'
complete -c virt-forward -n '__vf_verb explain' -l listener -x -d 'A port to try'
